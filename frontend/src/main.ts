/** Entry of the pages' one script: libraries first, then our elements, in the order they need. */

import "uplot/dist/uPlot.min.css";
import "./app.css";

import "./htmx";
import "htmx-ext-sse";
