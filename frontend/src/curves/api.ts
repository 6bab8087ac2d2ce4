/** Asking operations of the server, and reading the columns they answer with. */

/** A curve as it is drawn: each item covers a stretch of points, or is one point. */
export interface Curve {
  run: string;
  metric: string;
  points: number;
  steps: Float64Array;
  at: Float64Array; // seconds since 1970
  last: Float64Array;
  low: Float64Array;
  high: Float64Array;
}

interface Band {
  steps: string;
  at: string;
  last: string;
  low: string;
  high: string;
}

export interface Curves {
  curves: { run: string; metric: string; points: number; band: Band }[];
}

/** Calls an operation; throws what the server says is wrong. */
export async function call<T>(operation: string, command: object): Promise<T> {
  const answer = await fetch(`/api/v1/${operation}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(command),
  });
  const body: unknown = await answer.json();
  if (!answer.ok) {
    const said = body as { detail?: string; title?: string };
    throw new Error(said.detail ?? said.title ?? `the server answered ${answer.status}`);
  }
  return body as T;
}

function bytes(text: string): ArrayBuffer {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found.buffer;
}

function whole(text: string, unit: number): Float64Array {
  const raw = new BigInt64Array(bytes(text));
  const found = new Float64Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = Number(raw[i]) / unit;
  return found;
}

export function curvesOf(answer: Curves): Curve[] {
  return answer.curves.map(({ run, metric, points, band }) => ({
    run,
    metric,
    points,
    steps: whole(band.steps, 1),
    at: whole(band.at, 1e6),
    last: new Float64Array(bytes(band.last)),
    low: new Float64Array(bytes(band.low)),
    high: new Float64Array(bytes(band.high)),
  }));
}
