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
  filter.hidden = false;
  filter.addEventListener("input", () => {
    const sought = filter.value.trim().toLowerCase();
    for (const row of section.querySelectorAll(".row")) row.hidden = !row.dataset.name.includes(sought);
    if (rollup) rollup.open = sought !== "";
  });
}
