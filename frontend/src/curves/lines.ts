/** From curves to lines on the chosen axis: sorted, smoothed, with their extent. */

import type { Curve } from "./api";

export type Axis = "step" | "time" | "relative";

export interface Shown {
  id: string;
  name: string;
  color: string; // class of the colour
  started: number; // seconds since 1970
}

export interface Line {
  run: Shown;
  metric: string;
  xs: Float64Array;
  ys: Float64Array; // as they are, or smoothed
  raw: Float64Array | null; // as they are, where ys are smoothed
  low: Float64Array;
  high: Float64Array;
  thinned: boolean; // items stand for more than one point
  steps: Float64Array;
}

/** Exponential moving average, freed of its bias to zero; what is no number stays. */
export function smoothed(values: Float64Array, weight: number): Float64Array {
  const found = new Float64Array(values.length);
  let mean = 0;
  let left = 1;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      found[i] = value;
      return;
    }
    mean = weight * mean + (1 - weight) * value;
    left *= weight;
    found[i] = mean / (1 - left);
  });
  return found;
}

export function lineOf(curve: Curve, run: Shown, axis: Axis, weight: number): Line {
  const xs = along(curve, run, axis);
  const order = ordered(xs) ? null : sorting(xs);
  const pick = (values: Float64Array): Float64Array =>
    order === null ? values : values.map((_, i) => values[order[i] ?? 0] ?? NaN);
  const values = pick(curve.last);
  return {
    run,
    metric: curve.metric,
    xs: pick(xs),
    ys: weight > 0 ? smoothed(values, weight) : values,
    raw: weight > 0 ? values : null,
    low: pick(curve.low),
    high: pick(curve.high),
    thinned: curve.points > curve.last.length,
    steps: pick(curve.steps),
  };
}

function along(curve: Curve, run: Shown, axis: Axis): Float64Array {
  if (axis === "step") return curve.steps;
  return axis === "time" ? curve.at : curve.at.map((at) => at - run.started);
}

function ordered(xs: Float64Array): boolean {
  for (let i = 1; i < xs.length; i++) if ((xs[i] ?? 0) < (xs[i - 1] ?? 0)) return false;
  return true;
}

function sorting(xs: Float64Array): Uint32Array {
  return Uint32Array.from(xs.keys()).sort((a, b) => (xs[a] ?? 0) - (xs[b] ?? 0));
}

/** The index of the x nearest to a place; xs ascend. */
export function nearest(xs: ArrayLike<number>, x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) < x) low = middle;
    else high = middle;
  }
  return Math.abs((xs[low] ?? 0) - x) <= Math.abs((xs[high] ?? 0) - x) ? low : high;
}

/** Least and greatest of what is a number and, on a log axis, above zero. */
export function extent(columns: Iterable<ArrayLike<number>>, log: boolean): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const values of columns) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? NaN;
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}
