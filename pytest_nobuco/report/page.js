// Comforts only: without this script everything can be read.
for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}

for (const filter of document.querySelectorAll(".filter")) {
  const section = filter.closest("section");
  const rollup = section.querySelector(".rollup");
  const rows = [...section.querySelectorAll(".row")];
  const { name, runtime, outcome } = filter.elements;
  const fits = (row) =>
    row.dataset.name.includes(name.value.trim().toLowerCase()) &&
    row.dataset.forms.split(" ").some((form) => {
      const [its, came] = form.split(":");
      return (!runtime.value || its === runtime.value) && (!outcome.value || came === outcome.value);
    });
  filter.hidden = false;
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    const asked = name.value.trim() || runtime.value || outcome.value;
    let shown = 0;
    for (const row of rows) {
      row.hidden = !fits(row);
      if (!row.hidden) shown += 1;
    }
    if (rollup) {
      rollup.open = Boolean(asked);
      rollup.hidden = Boolean(asked) && !rollup.querySelector(".row:not([hidden])");
    }
    filter.querySelector("output").textContent = asked ? `${shown} of ${rows.length}` : "";
  });
}
