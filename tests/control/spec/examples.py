"""Setpoint files that several tests read."""

FLIGHTS = """\
model: flights-late
owner: ops-team
purpose: warn passengers whose flight will arrive 15 minutes late or more
data:
  source: {flights: data/flights.parquet, weather: data/weather.parquet}
  label: {column: late, delay: arrival}       # when the truth becomes known
  entity: flight_id
  time: scheduled_departure
  contract: contracts/flights.odcs.yaml
features: [flights:schedule, flights:weather_at_origin, flights:carrier_delay_7d]
train:
  code: flights:train
  baseline: flights:baseline                  # the simple model it must beat
  split: {by: time, test: 14d}
  seed: 7
objective: {metric: roc_auc, at_least: 0.68, better_than: baseline, confidence: 0.95}
guardrails:
  slices: {by: [origin], roc_auc: {at_least: 0.64}}
  calibration_error: {at_most: 0.05}
  latency_p99: {at_most: 20ms}
  errors: {at_most: 0.1%}
business: {metric: cost_per_prediction, code: flights:cost, must_not_rise: 5%}
serve: {log: {sample: 100%, keep: 90d}, fallback: baseline}
release:
  shadow: {for: 500 requests}
  canary: {steps: [5%, 25%, 100%], false_rollback: 1%, false_promote: 5%, at_most: 7d}
  approve: {by: [risk], when: spec changed}
  on_breach: rollback
watch:
  drift: {features: all, prediction: true}
  quality: {estimate_meanwhile: true}
  alarm_budget: 1/month                       # over all monitors of this model together
react: {drift: retrain, quality: retrain, stale: {after: 60d}, retrain: {at_most: 1/week}}
privacy: {subject: tail_number, retention: 400d}
"""

SMALLEST = """\
model: churn
data: {source: data/churn.csv}
train: {code: churn:train}
"""

#: A regression with a function as source, short forms and the keys FLIGHTS leaves out.
DEMAND = """\
model: demand
data:
  source: {sales: "demand:sales", days: data/days.csv}
  rows: sales
  label: {column: sold, delay: 36h}
  entity: sale
  time: day
train: {code: "demand.model:train", window: 120d, split: {test: 10%}}
objective: {metric: rmse, at_most: 12.5}
guardrails: {slices: {by: [shop, region], least_rows: 50, mae: {at_most: 20}}}
business: {metric: margin, code: "demand:margin", must_not_fall: 150%}
release:
  shadow: {for: 2d}
  canary: {steps: [100%], inconclusive: promote, margin: 0.5}
watch:
  drift: {features: [price, weekday], effect: 0.1}
  window: 1h
  alarm_budget: 2/quarter
react: {stale: 45d, drift: alarm}
serve:
  limits: {concurrency: 2, queue: 100, timeout: 2s, body: 16MB, memory: 1GiB}
  batch: {rows: 256, wait: 2ms}
  process: own
"""

ALL = {"flights": FLIGHTS, "smallest": SMALLEST, "demand": DEMAND}
