/** Links that MLflow's client prints, such as `/#/experiments/1/runs/ID`, lead to our pages. */

const PAGES: readonly (readonly [RegExp, string])[] = [
  [/^#\/experiments\/\d+\/evaluation-runs\?.*\bselectedRunUuid=([\w.:-]+)/, "/runs/"],
  [/^#\/experiments\/\d+\/runs\/([\w.:-]+)/, "/runs/"],
  [/^#\/experiments\/(\d+)/, "/experiments/"],
  [/^#\/models\/([^/?]+)/, "/models/"],
];

function follow(): void {
  for (const [link, page] of PAGES) {
    const name = link.exec(location.hash)?.[1];
    if (name !== undefined) {
      location.replace(page + name);
      return;
    }
  }
}

follow();
window.addEventListener("hashchange", follow);
