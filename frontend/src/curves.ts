/** Curves of runs: their charts, and the form that says how they are shown. */

import "./curves/chart";
import { start } from "./curves/view";

start();
document.addEventListener("htmx:afterSwap", start);
