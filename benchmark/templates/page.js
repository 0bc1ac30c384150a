"use strict";

// Tables: a click on a heading sorts best first, then worst first, then as the paper does.

for (const table of document.querySelectorAll("#tables table")) {
  const body = table.tBodies[0];
  const paperOrder = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];

  const value = (row, column) => {
    const text = row.cells[column].firstChild.textContent;
    return column === 0 ? text.toLowerCase() : Number.parseFloat(text); // NaN: not run
  };
  const sort = (column, direction) => {
    const sign = direction === "ascending" ? 1 : -1;
    const [known, unknown] = [[], []];
    for (const row of paperOrder) {
      if (!row.matches(".category")) (Number.isNaN(value(row, column)) ? unknown : known).push(row);
    }
    known.sort((a, b) => sign * (value(a, column) > value(b, column) ? 1 : value(a, column) < value(b, column) ? -1 : 0));
    return [...known, ...unknown];
  };

  headings.forEach((heading, column) => {
    const first = column === 0 ? "ascending" : table.dataset.better;
    const turns = ["none", first, first === "ascending" ? "descending" : "ascending"];
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const turn = turns[(turns.indexOf(heading.getAttribute("aria-sort")) + 1) % 3];
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", turn);
      body.replaceChildren(...(turn === "none" ? paperOrder : sort(column, turn)));
    });
  });
}

// Gallery: cards that match the filters, in order of Dice, some at a time.

const drawGallery = (data) => {
  const STEP = 36;
  const form = document.querySelector("#gallery form");
  const [count, cards, more] = ["count", "cards", "more"].map((id) => document.getElementById(id));
  let matching = [];

  const make = (name, attributes = {}, ...children) => {
    const svg = ["svg", "g", "path"].includes(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
    element.append(...children);
    return element;
  };
  const percent = (score) => (score === null ? "—" : (100 * score).toFixed(1));

  const tile = (card, image) => {
    const [width, height] = image.size ?? image.grid;
    const half = "translate(0.5 0.5)"; // outlines run through the centres of pixels
    const drawing = make(
      "svg",
      { viewBox: `0 0 ${image.grid.join(" ")}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      make("g", { class: "mask", transform: half }, make("path", { d: image.mask })),
      make("g", { class: "pred", transform: half }, make("path", { d: card.pred })),
    );
    const box = make("div", {}, drawing);
    box.style.width = `${100 * Math.min(1, width / height)}%`;
    if (image.thumbnail !== undefined) {
      const src = `data:image/webp;base64,${data.thumbnails[image.thumbnail]}`;
      box.prepend(make("img", { src, alt: `Ultrasound image ${image.id}` }));
    }
    return make("div", { class: image.thumbnail === undefined ? "tile bare" : "tile" }, box);
  };
  const figure = (card) => {
    const image = data.images[card.image];
    const run = data.runs[card.run];
    const distance = card.hd95 === null ? "—" : `${card.hd95.toFixed(1)} ${data.unit}`;
    return make(
      "figure",
      {},
      tile(card, image),
      make(
        "figcaption",
        {},
        make("strong", {}, `Dice ${percent(card.dice)}${card.pred ? "" : ", no prediction"}`),
        make("span", {}, `IoU ${percent(card.iou)}, HD95 ${distance}`),
        make("span", {}, `${run.method}, ${run.labelled}, ${card.place}`),
        make("span", { title: image.id }, image.id),
      ),
    );
  };
  const append = () => {
    const start = cards.childElementCount;
    cards.append(...matching.slice(start, start + STEP).map(figure));
    more.hidden = cards.childElementCount === matching.length;
    count.textContent = `${cards.childElementCount} of ${matching.length} shown`;
  };
  const draw = () => {
    const chosen = Object.fromEntries(new FormData(form));
    matching = data.cards.filter((card) => {
      const of = { task: data.images[card.image].task, place: card.place, ...data.runs[card.run] };
      return Object.entries(of).every(([name, is]) => !chosen[name] || chosen[name] === is);
    });
    matching.sort((a, b) => chosen.order * (a.dice - b.dice));
    cards.replaceChildren();
    append();
  };
  form.addEventListener("change", ({ target }) => {
    if (target.matches("select")) draw();
  });
  more.addEventListener("click", append);
  draw();
};

const data = document.getElementById("data");
if (data) drawGallery(JSON.parse(data.textContent));
