/** Adds the reader's own time to the exact one that hovering shows. */

function localise(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.dataset["local"] = "";
    time.title += `\n${at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })}`;
  }
}

localise();
document.addEventListener("htmx:afterSwap", localise);
