/** Buttons that copy the command beside them. */

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-copy]") : null;
  if (button === null) return;
  void navigator.clipboard.writeText(button.dataset["copy"] ?? "").then(() => {
    const before = button.textContent;
    button.textContent = "copied";
    setTimeout(() => (button.textContent = before), 1200);
  });
});
