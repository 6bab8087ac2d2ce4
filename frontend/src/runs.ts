/** The runs table: its filter, its rows, what is done with those chosen. */

import "./runs/filter";
import "./runs/table";
