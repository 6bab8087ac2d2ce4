/** Entry of the pages' one script. Pages work without it; it makes them live. */

import "./app.css";

import "./htmx";
import "./charts";
import "./compare";
import "./copy";
import "./curves";
import "./keys";
import "./links";
import "./live";
import "./parts";
import "./runs";
import "./theme";
import "./times";
