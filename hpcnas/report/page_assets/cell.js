// A genotype drawn in the browser: the same picture as `hpcnas show`, as wide as the window has room for.
// What is live is reckoned as in representation/live.py, the places as in report/drawing/layout.py; both in inches.
const SVG = "http://www.w3.org/2000/svg";
const INCH = 100; // units of the view box
const MARGIN = 0.1, TITLE = 0.26, HEAD = [0.11, 0.042], CLEAR = 0.03, LETTER = 0.088, GAP = 0.2, SLOT = 2 * HEAD[1] + 0.012;
const sum = (values) => values.reduce((a, b) => a + b, 0);

// Rows of every motif of every level, from the short text of page_genotypes.py.
function readGenotype(text) {
  const motif = (letters) => {
    const rows = [];
    for (let at = 0, length = 1; at < letters.length; at += length++) {
      rows.push([...letters.slice(at, at + length)].map((letter) => letter.charCodeAt(0) - 48));
    }
    return rows;
  };
  return text.split("/").map((level) => level.split(" ").map(motif));
}

const edgesOf = (rows) => rows.flatMap((row, r) => row.flatMap((k, j) => (k ? [[j + 1, r + 2, k]] : [])));

function liveMotif(rows, dead) {
  const edges = edgesOf(rows).filter(([, , k]) => !dead.has(k));
  const last = rows.length + 1, reached = new Set([1]), useful = new Set([last]);
  for (const [j, i] of edges) if (reached.has(j)) reached.add(i);
  for (const [j, i] of [...edges].reverse()) if (useful.has(i)) useful.add(j);
  const live = new Set([...reached].filter((node) => useful.has(node)));
  return live.has(1) && live.has(last) ? { nodes: live, edges: edges.filter(([j, i]) => live.has(j) && live.has(i)) } : null;
}

// The panels of a drawing: the cell first, then the motifs that it uses; nodes and edges know whether they are live.
function panelsOf(levels, operations) {
  let dead = new Set();
  const live = levels.map((motifs) => {
    const pruned = motifs.map((rows) => liveMotif(rows, dead));
    dead = new Set(pruned.flatMap((motif, m) => (motif ? [] : [m + 1])));
    return pruned;
  });
  const top = levels.length - 1;
  const used = levels.map(() => new Set());
  if (live[top][0]) used[top].add(1);
  for (let l = top; l > 0; l--) for (const m of used[l]) for (const [, , k] of live[l][m - 1].edges) used[l - 1].add(k);
  const panels = [];
  for (let l = top; l >= 0; l--) {
    levels[l].forEach((rows, index) => {
      if (l < top && !used[l].has(index + 1)) return;
      const kept = used[l].has(index + 1) ? live[l][index] : { nodes: new Set(), edges: [] };
      const alive = new Set(kept.edges.map(String));
      const isDead = l === top && !live[l][index] ? " (sink not reached: counts as none)" : "";
      panels.push({
        title: (l === top ? "cell" : top === 1 ? `motif${index + 1}` : `level ${l + 2} motif${index + 1}`) + isDead,
        nodes: rows.length + 1,
        live: kept.nodes,
        edges: edgesOf(rows).map(([j, i, k]) => ({ j, i, isMotif: l > 0, name: l ? `motif${k}` : operations[k], isLive: alive.has(String([j, i, k])) })),
      });
    });
  }
  return panels;
}

// A panel and its measures; `along` the line of nodes, `away` from it. Upright: from top to bottom.
class Placed {
  constructor(panel, inside, label) {
    this.panel = panel;
    this.label = label;
    this.arcs = panel.edges.map(({ j, i }) => [j - 1, i - 1]);
    const longest = Math.max(0, ...panel.edges.map((edge) => label(edge).length));
    const slots = 0.08 + SLOT * this.mostEnds();
    this.set(false, Math.max(0.36, slots));
    this.step = this.box + Math.max(0.35, LETTER * longest + 0.08);
    if (this.width > inside + 1e-9) {
      this.set(true, Math.max(0.36, slots));
      this.step = this.box + 0.27;
    }
  }

  set(isUpright, box) {
    [this.isUpright, this.box, this.across, this.left, this.bottom] = [isUpright, box, isUpright ? 0.58 : 0.34, 0, 0];
  }

  mostEnds() {
    const counts = {};
    for (const [a, b] of this.arcs) if (b - a > 1) for (const at of [a, b]) counts[[at, (b - a) % 2]] = (counts[[at, (b - a) % 2]] || 0) + 1;
    return Math.max(0, ...Object.values(counts));
  }

  get length() { return (this.panel.nodes - 1) * this.step + this.box; }
  get extents() {
    const label = this.isUpright ? 0.2 : 0.09;
    const reach = (parity) => Math.max(0, ...this.arcs.filter(([a, b]) => b - a > 1 && (b - a) % 2 === parity).map(([a, b]) => this.rise(b - a, a) + label));
    return [this.across / 2 + reach(1), this.across / 2 + reach(0)];
  }
  get width() { return Math.max(this.isUpright ? sum(this.extents) : this.length, LETTER * this.panel.title.length); }
  get height() { return TITLE + (this.isUpright ? this.length : sum(this.extents)); }

  widen(width) {
    if (!this.isUpright) this.step = Math.max(this.step, Math.min(1.3, (width - this.box) / Math.max(1, this.panel.nodes - 1)));
  }
  rise(span, source) {
    return this.isUpright ? 0.206 * span * (1.1 - (0.3 * source) / this.panel.nodes) : 0.16 * span;
  }
  at(along, away) {
    const [below] = this.extents;
    return this.isUpright
      ? [this.left + below + away, this.bottom + this.length - along]
      : [this.left + along, this.bottom + below + away];
  }
  centre(index) { return this.box / 2 + index * this.step; }

  // Where each arc leaves (1) and enters (-1) its boxes, off their middles.
  ports() {
    const sides = {};
    this.arcs.forEach(([a, b], index) => {
      if (b - a < 2) return;
      (sides[[b, (b - a) % 2]] ||= []).push([-1, b - a, index]);
      (sides[[a, (b - a) % 2]] ||= []).push([1, a - b, index]);
    });
    const ports = {};
    for (const ends of Object.values(sides)) {
      const slot = Math.min((this.box - 0.08) / ends.length, 0.13);
      ends.sort((x, y) => x[0] - y[0] || x[1] - y[1] || x[2] - y[2]);
      ends.forEach(([side, , index], place) => { ports[[index, side]] = (place - (ends.length - 1) / 2) * slot; });
    }
    return ports;
  }

  // The way of every edge: points of a line or a parabola, the arrowhead, the place of the label.
  routes() {
    const ports = this.ports();
    return this.panel.edges.map((edge, index) => {
      const [a, b] = this.arcs[index];
      return { edge, ...(b - a === 1 ? this.straight(a) : this.arc(a, b, ports[[index, 1]], ports[[index, -1]])) };
    });
  }

  straight(a) {
    const begin = this.centre(a) + this.box / 2, end = this.centre(a + 1) - this.box / 2 - CLEAR, foot = end - HEAD[0];
    const head = [[end, 0], [foot, HEAD[1]], [foot, -HEAD[1]]].map((point) => this.at(...point));
    const label = this.at((begin + end) / 2, this.isUpright ? 0.07 : 0.095);
    return { line: [this.at(begin, 0), this.at(foot, 0)], head, label, isBeside: this.isUpright };
  }

  arc(a, b, leaves, enters) {
    const begin = this.centre(a) + leaves, end = this.centre(b) + enters, up = (b - a) % 2 ? -1 : 1;
    const base = (up * this.across) / 2, rise = up * this.rise(b - a, a);
    const first = [begin, base], control = [(begin + end) / 2, base + 2 * rise], tip = [end, base + up * CLEAR];
    const [dx, dy] = [tip[0] - control[0], tip[1] - control[1]];
    const part = HEAD[0] / (2 * Math.hypot(dx, dy));
    const between = (p, q) => [0, 1].map((c) => p[c] + (1 - part) * (q[c] - p[c]));
    const bend = between(first, control), foot = between(bend, between(control, tip)); // de Casteljau
    const away = [(HEAD[1] * (foot[1] - tip[1])) / HEAD[0], (HEAD[1] * (tip[0] - foot[0])) / HEAD[0]];
    const head = [tip, [foot[0] + away[0], foot[1] + away[1]], [foot[0] - away[0], foot[1] - away[1]]];
    const place = (point) => this.at(...point);
    return { line: [first, bend, foot].map(place), head: head.map(place), label: place([(begin + end) / 2, base + rise]), isBeside: false };
  }
}

// Rows from the top, the cell alone in the first; the lowest row at height 0.
function arrange(panels, page, label) {
  const inside = page - 2 * MARGIN, half = (inside - GAP) / 2, rows = [];
  panels.forEach((panel, index) => {
    const box = new Placed(panel, inside, label);
    box.widen(index ? half : inside);
    const taken = rows.length ? sum(rows.at(-1).map((other) => other.width + GAP)) : 0;
    if (index < 2 || taken + box.width > inside + 1e-9) rows.push([]);
    rows.at(-1).push(box);
  });
  let bottom = 0;
  for (const row of [...rows].reverse()) {
    const tallest = Math.max(...row.map((box) => box.height));
    let left = MARGIN;
    for (const box of row) {
      box.left = left;
      box.bottom = bottom + tallest - box.height;
      left += Math.max(box.width + GAP, half + GAP);
    }
    bottom += tallest + 0.16;
  }
  return rows.flat();
}
