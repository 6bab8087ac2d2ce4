/** From values to places on an axis, and the values that an axis names. */

export type Kind = "number" | "time" | "duration";

export interface Scale {
  low: number;
  high: number;
  log: boolean;
}

const LENGTHS = [
  ...[1, 2, 5, 10, 15, 30],
  ...[60, 120, 300, 600, 900, 1800],
  ...[3600, 7200, 10800, 21600, 43200],
  ...[86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000],
];

/** A scale over values, with a little air, never empty. */
export function scaleOf(low: number, high: number, log: boolean, air = 0): Scale {
  if (!(low <= high)) [low, high] = log ? [0.1, 1] : [0, 1];
  if (log) {
    if (low === high) [low, high] = [low / 2, high * 2];
    const grow = (high / low) ** air;
    return { low: low / grow, high: high * grow, log };
  }
  if (low === high) {
    const by = Math.abs(low) * 0.05 || 0.5;
    [low, high] = [low - by, high + by];
  }
  const by = (high - low) * air;
  return { low: low - by, high: high + by, log };
}

/** Where a value is: 0 at the scale's low end, 1 at its high end. */
export function place(scale: Scale, value: number): number {
  if (!scale.log) return (value - scale.low) / (scale.high - scale.low);
  return Math.log(value / scale.low) / Math.log(scale.high / scale.low);
}

/** The value at a place. */
export function valueAt(scale: Scale, share: number): number {
  if (!scale.log) return scale.low + share * (scale.high - scale.low);
  return scale.low * (scale.high / scale.low) ** share;
}

export function ticks(scale: Scale, wanted: number, kind: Kind = "number"): number[] {
  if (scale.log) return powers(scale, wanted);
  const span = scale.high - scale.low;
  const step = kind === "number" ? round(span / wanted) : length(span / wanted);
  const found: number[] = [];
  const last = Math.floor(scale.high / step + 1e-9);
  for (let i = Math.ceil(scale.low / step - 1e-9); i <= last; i++) found.push(i * step);
  return found;
}

function round(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}

function length(rough: number): number {
  if (rough < 1) return round(rough);
  return LENGTHS.find((each) => each >= rough) ?? round(rough);
}

function powers(scale: Scale, wanted: number): number[] {
  const [low, high] = [Math.log10(scale.low), Math.log10(scale.high)];
  const leads = high - low < 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((high - low) / wanted));
  const found: number[] = [];
  for (let power = Math.floor(low); power <= high; power += every) {
    for (const lead of leads) {
      const value = lead * 10 ** power;
      if (value >= scale.low * 0.999 && value <= scale.high * 1.001) found.push(value);
    }
  }
  return found;
}

/** A number as people read it: four digits, thousands as k, M, G. */
export function write(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2).replace("-", "−");
  for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]] as const) {
    if (size >= unit) {
      const by = name === "k" ? 1e3 : unit;
      return `${String(Number((value / by).toPrecision(4))).replace("-", "−")}${name}`;
    }
  }
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

export function duration(seconds: number): string {
  const size = Math.abs(seconds);
  if (size < 60) return `${write(seconds)} s`;
  if (size < 3600) return `${write(seconds / 60)} min`;
  if (size < 2 * 86400) return `${write(seconds / 3600)} h`;
  return `${write(seconds / 86400)} d`;
}

/** A value of an axis; `span` tells how fine a time must be. */
export function named(value: number, kind: Kind, span: number): string {
  if (kind === "duration") return duration(value);
  if (kind === "number") return write(value);
  const at = new Date(value * 1000).toISOString();
  if (span > 3 * 86400) return at.slice(5, 10);
  return span > 600 ? at.slice(11, 16) : at.slice(11, 19);
}

export function moment(value: number): string {
  return `${new Date(value * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
