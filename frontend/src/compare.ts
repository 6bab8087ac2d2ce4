/** Runs side by side: plots of what they were given and what came of it. */

import "./compare/parallel";
import "./compare/scatter";
