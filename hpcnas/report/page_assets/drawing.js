// From the places of cell.js to a picture with its legend.
function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function pen(style) {
  const width = (style.width * INCH) / 72;
  return `--o:${style === data.motif ? "var(--text)" : style.colour};stroke-width:${width.toFixed(2)};stroke-dasharray:${style.dashes.map((part) => (part * width).toFixed(2)).join(" ") || "none"}`;
}

const styleOf = (edge) => (!edge.isLive ? data.dead : edge.isMotif ? data.motif : data.styles[edge.name]);

// A figure's contents: the drawing as wide as `page` inches, and its legend.
function drawGenotype(run, id, page) {
  const panels = panelsOf(readGenotype(data.genotypes[run][id]), data.operations[run]);
  const label = (edge) => (edge.isMotif ? edge.name : data.styles[edge.name].code);
  const placed = arrange(panels, page, label);
  const height = Math.max(...placed.map((box) => box.bottom + box.height)) + 0.05;
  const width = Math.max(page, ...placed.map((box) => box.left + box.width + MARGIN));
  const [x, y] = [(value) => +(value * INCH).toFixed(1), (value) => +((height - value) * INCH).toFixed(1)];
  const point = (p) => `${x(p[0])} ${y(p[1])}`;
  const svg = element("svg", { viewBox: `0 0 ${x(width)} ${x(height) + 6}`, role: "img", class: "cell" });
  svg.setAttribute("aria-label", "Drawing of the cell and its motifs; the same follows as text");
  svg.style.maxWidth = `${x(width) * 1.4}px`;
  const texts = element("g", {}), boxes = element("g", {});
  const text = (at, words, kind) => element("text", { x: x(at[0]), y: y(at[1]), class: kind }, words);
  for (const box of placed) {
    texts.append(text([box.left, box.bottom + box.height - 0.13], box.panel.title, "title"));
    for (const { edge, line, head, label: place, isBeside } of box.routes()) {
      const style = styleOf(edge);
      const way = line.length === 2 ? `M${point(line[0])}L${point(line[1])}` : `M${point(line[0])}Q${point(line[1])} ${point(line[2])}`;
      svg.append(element("path", { class: "op", d: way, style: pen(style) }));
      boxes.append(element("path", { class: "op head", d: `M${head.map(point).join("L")}z`, style: pen(style) }));
      texts.append(text(place, label(edge), `label${isBeside ? " beside" : line.length > 2 ? " on" : ""}${edge.isLive ? "" : " dead"}`));
    }
    for (let node = 1; node <= box.panel.nodes; node++) {
      const at = box.at(box.centre(node - 1), 0), [w, h] = box.isUpright ? [box.across, box.box] : [box.box, box.across];
      const kind = `node${node === 1 || node === box.panel.nodes ? " end" : ""}${box.panel.live.has(node) ? "" : " dead"}`;
      boxes.append(element("rect", { x: x(at[0] - w / 2), y: y(at[1] + h / 2), width: x(w), height: x(h), rx: 8, class: kind }));
      boxes.append(text(at, String(node), kind));
    }
  }
  svg.append(texts, boxes);
  return [svg, legend(panels)];
}

function legend(panels) {
  const used = new Set(panels.flatMap((panel) => panel.edges.map(styleOf)));
  const words = Object.entries(data.styles).map(([name, style]) => [style, style.code === name ? name : `${style.code}: ${name}`]);
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [style, text] of [...words, [data.motif, "a motif of that name"], [data.dead, "dead: no part of the network"]]) {
    if (!used.has(style)) continue;
    const item = document.createElement("li");
    const swatch = element("svg", { viewBox: "0 0 42 12", class: "swatch", "aria-hidden": "true" }, element("path", { class: "op", d: "M0 6H42", style: pen(style) }));
    item.append(swatch, ` ${text}`);
    list.append(item);
  }
  return list;
}

// The equations of the nodes, for readers who do not see the picture.
function genotypeText(run, id) {
  const panels = panelsOf(readGenotype(data.genotypes[run][id]), data.operations[run]);
  const input = (edge) => (edge.isLive ? `${edge.name}(x${edge.j})` : `[${edge.name}(x${edge.j})]`);
  return panels.map((panel) => {
    const lines = [panel.title, "  x1 = input"];
    for (let node = 2; node <= panel.nodes; node++) lines.push(`  x${node} = ${panel.edges.filter((edge) => edge.i === node).map(input).join(", ") || "nothing"}`);
    return lines.join("\n");
  }).join("\n\n");
}
