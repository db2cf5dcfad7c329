"use strict";
const box = document.getElementById("filter");
const input = box.querySelector("input");
const count = box.querySelector("output");
const rows = [...document.querySelectorAll("tbody tr:not(.up)")];
const names = rows.map(row => row.cells[0].textContent.toLowerCase());
const filter = () => {
  const wanted = input.value.toLowerCase();
  let shown = 0;
  rows.forEach((row, at) => { row.hidden = !names[at].includes(wanted); shown += !row.hidden; });
  count.textContent = wanted ? shown + " of " + rows.length : "";
};
box.hidden = false;
input.addEventListener("input", filter);
filter();
