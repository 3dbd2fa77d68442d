// heatmap.js draws the heat map of a model: every signal, not only those of the
// table's page. The answer is 4 bytes of the header's length, the header in JSON,
// and a byte a signal and window: 0 for undefined, or 1 + 254 times the value.
const box = document.getElementById("heatmap");
const rowHeight = 16;
const steps = [0.05, 0.1, 0.25, 0.5]; // as in page_model.go

async function load(source) {
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(answer.status);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0);
  const map = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  map.cells = bytes.subarray(4 + length);
  return map;
}

function value(map, row, column) {
  const cell = map.cells[row * map.starts.length + column];
  return cell ? (cell - 1) / 254 : NaN;
}

// colours reads the style sheet's, so that the map is as dark as the page.
function colours() {
  const style = getComputedStyle(document.documentElement);
  return ["--h0", "--h1", "--h2", "--h3", "--h4"].map(name => {
    const n = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  });
}

// pixels returns the colour of each cell as ImageData has it: red first. Where there
// is no value it is transparent.
function pixels() {
  const palette = colours(), table = new Uint8ClampedArray(4 * 256);
  for (let cell = 1; cell < 256; cell++) {
    const x = (cell - 1) / 254;
    table.set([...palette[steps.filter(step => x >= step).length], 255], 4 * cell);
  }
  return new Uint32Array(table.buffer);
}

function draw(map, canvas) {
  const begun = performance.now();
  const width = map.starts.length, height = map.signals.length, table = pixels();
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), data = new Uint32Array(image.data.buffer);
  for (let i = 0; i < map.cells.length; i++) data[i] = table[map.cells[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.style.height = height * rowHeight + "px";
  performance.measure("heatmap", { start: begun });
}

function begin(map) {
  const canvas = box.querySelector("canvas"), cursor = box.querySelector(".cursor");
  const output = box.querySelector("output"), names = box.querySelector("ol");
  const columns = map.starts.length, rows = map.signals.length;
  let row = 0, column = columns - 1;
  for (const name of map.signals) {
    const item = document.createElement("li");
    item.textContent = name;
    item.title = name;
    names.append(item);
  }
  draw(map, canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(map, canvas));
  box.hidden = false;

  function move(toRow, toColumn) {
    row = Math.min(Math.max(toRow, 0), rows - 1);
    column = Math.min(Math.max(toColumn, 0), columns - 1);
    const x = value(map, row, column), at = map.starts[column].slice(0, 16).replace("T", " ");
    output.textContent = `${map.signals[row]}, ${at} UTC: ${map.stat} ${isNaN(x) ? "not defined" : x.toFixed(2)}, ${map.events[column]} events`;
    cursor.hidden = false;
    cursor.style.left = 100 * column / columns + "%";
    cursor.style.width = 100 / columns + "%";
    cursor.style.top = row * rowHeight + "px";
    cursor.style.height = rowHeight + "px";
    cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function open() {
    const link = new URL(box.dataset.feature, location.href);
    link.searchParams.set("name", map.signals[row]);
    link.searchParams.set("at", map.starts[column]);
    location.assign(link);
  }

  const keys = {
    ArrowUp: () => move(row - 1, column), ArrowDown: () => move(row + 1, column),
    ArrowLeft: () => move(row, column - 1), ArrowRight: () => move(row, column + 1),
    PageUp: () => move(row - 20, column), PageDown: () => move(row + 20, column),
    Home: () => move(row, 0), End: () => move(row, columns - 1), Enter: open,
  };
  canvas.addEventListener("keydown", event => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  canvas.addEventListener("focus", () => move(row, column));
  canvas.addEventListener("click", event => {
    const frame = canvas.getBoundingClientRect();
    move(Math.floor((event.clientY - frame.top) / rowHeight), Math.floor((event.clientX - frame.left) / frame.width * columns));
  });
  canvas.addEventListener("dblclick", open);
}

if (box) load(box.dataset.source).then(begin, () => {}); // without it there is the table
