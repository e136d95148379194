"use strict";
// The player on the page of a study. player.py writes the page's elements and the data that this script reads.
{
  const element = id => document.getElementById(id);
  const all = selector => [...document.querySelectorAll(selector)];
  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);

  const data = JSON.parse(element("player-data").textContent);
  const [frames, slices, rows, columns] = data.shape;
  const [rowMm, columnMm] = data.pixel_mm;
  const WHOLE = [0, 0, rows, columns];
  const ZOOM = 1.25, SWIPE_PX = 24, WHEEL_PX = 40, SCROLLING_MS = 300;

  const section = element("images"), player = element("player"), canvas = element("screen"), where = element("where");
  const timeline = element("timeline"), sliders = { frame: element("frame"), slice: element("slice") };
  const toggles = all("#player [aria-pressed]"), doubts = all("#doubts button");
  const play = player.querySelector("[data-action=play]");
  const pen = canvas.getContext("2d");

  let [frame, slice] = data.first;
  let playing = false, due = 0, doubt = -1;
  // What is seen: its middle in px of the image, and the px of the screen for a mm. `fitted` is the box that fills the
  // screen until the reader zooms or moves.
  let view = { x: 0, y: 0, scale: 1 }, fitted = data.heart;

  const pictures = new Map();
  function picture(t, z) {
    const key = t * slices + z;
    if (!pictures.has(key)) {
      const image = new Image();
      image.onload = () => { if (t === frame && z === slice) draw(); };
      image.src = `data:${data.type};base64,${data.images[t][z]}`;
      pictures.set(key, image);
    }
    return pictures.get(key);
  }

  const lines = new Map();
  function line(path) {
    if (!lines.has(path)) lines.set(path, new Path2D(path));
    return lines.get(path);
  }

  function fit() {
    const [top, left, bottom, right] = fitted;
    const scale = Math.min(
      canvas.clientWidth / ((right - left) * columnMm), canvas.clientHeight / ((bottom - top) * rowMm));
    view = { x: (left + right) / 2, y: (top + bottom) / 2, scale };
  }

  function draw() {
    const image = picture(frame, slice), sharp = window.devicePixelRatio || 1;
    // Until it is loaded, the last one stays.
    if (!image.complete) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(size => Math.max(1, Math.round(size * sharp)));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const across = view.scale * columnMm * sharp, down = view.scale * rowMm * sharp;
    const place = [across, 0, 0, down, width / 2 - view.x * across, height / 2 - view.y * down];
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = "#111315";
    pen.fillRect(0, 0, width, height);
    pen.setTransform(...place);
    pen.imageSmoothingQuality = "high";
    if (image.naturalWidth) pen.drawImage(image, 0, 0, columns, rows);
    // The lines have the same width at any zoom, so only their points are moved to their place.
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.lineWidth = 1.6 * sharp;
    pen.lineJoin = "round";
    for (const toggle of toggles) {
      if (toggle.getAttribute("aria-pressed") === "false") continue;
      const moved = new Path2D(), { class: index, box } = toggle.dataset;
      const path = box === undefined ? line(data.contours[frame][slice][index]) : boxPath(data.boxes[box]);
      moved.addPath(path, new DOMMatrix(place));
      pen.strokeStyle = toggle.querySelector("path").getAttribute("stroke");
      pen.stroke(moved);
    }
  }

  function boxPath([top, left, bottom, right]) {
    const path = new Path2D();
    path.rect(left, top, right - left, bottom - top);
    return path;
  }

  // Shows what the state says: picture, texts, sliders, time line, list.
  function show() {
    const parts = [];
    if (slices > 1) parts.push(`slice ${slice + 1} of ${slices}`);
    if (frames > 1) parts.push(`frame ${frame + 1} of ${frames}`);
    if (frame in data.moments) parts.push(data.moments[frame]);
    const title = parts.join(" · ").replace(/^s/, "S").replace(/^f/, "F") || "Image";
    const doubted = doubts.filter(here);
    // While frames follow each other, nobody wants to hear each of them.
    where.setAttribute("aria-live", playing ? "off" : "polite");
    const warning = document.createElement("strong");
    warning.textContent = doubted.length ? "In doubt: " + doubted.map(button => button.dataset.said).join("; ") : "";
    const below = [data.told[frame], data.left_out[frame][slice]].filter(Boolean);
    where.replaceChildren(title, ...below.flatMap(text => [document.createElement("br"), text]), warning);
    canvas.setAttribute("aria-label", title);
    for (const [name, at] of [["frame", frame], ["slice", slice]]) {
      if (!sliders[name]) continue;
      sliders[name].value = at;
      sliders[name].setAttribute("aria-valuetext", `${name} ${at + 1}`);
    }
    if (timeline) {
      const { left, step, top, row } = timeline.dataset, x = Number(left) + frame * step;
      element("now").setAttribute("x", x);
      element("here").setAttribute("x", x);
      element("here").setAttribute("y", Number(top) + slice * row);
    }
    for (const button of doubts) {
      if (doubted.includes(button)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    draw();
  }

  function here(button) {
    const { frame: t, slice: z } = button.dataset;
    return (t === undefined || Number(t) === frame) && (z === undefined || Number(z) === slice);
  }

  function go(t, z) {
    stop();
    [frame, slice] = [within(t, frames), within(z, slices)];
    show();
  }

  function start() {
    playing = true;
    play.textContent = "Stop";
    for (let t = 0; t < frames; t++) picture(t, slice);
    due = performance.now();
    requestAnimationFrame(turn);
  }

  function stop() {
    if (!playing) return;
    playing = false;
    play.textContent = "Play";
  }

  function turn(now) {
    if (!playing) return;
    const wait = data.frame_ms / Number(element("speed").value);
    // A page that was hidden for a while does not hurry after.
    if (now - due > 10 * wait) due = now;
    const steps = Math.floor((now - due) / wait);
    if (steps > 0) {
      due += steps * wait;
      frame = (frame + steps) % frames;
      show();
    }
    requestAnimationFrame(turn);
  }

  function zoom(factor, x = view.x, y = view.y) {
    // The point (x, y) of the image stays where it is.
    view = { x: x + (view.x - x) / factor, y: y + (view.y - y) / factor, scale: view.scale * factor };
    fitted = null;
    canvas.classList.add("zoomed");
    draw();
  }

  function fill(box) {
    fitted = box;
    canvas.classList.remove("zoomed");
    fit();
    draw();
  }

  function press(toggle, on) {
    toggle.setAttribute("aria-pressed", on);
  }

  // The key Tab reaches one doubt of the list, so that it leads past the others.
  function reach(number) {
    doubts.forEach((button, at) => { button.tabIndex = at === number ? 0 : -1; });
  }

  function nextDoubt(step) {
    if (!doubts.length) return;
    // A jump from elsewhere starts at the doubt that is seen, if there is one.
    const seen = doubts.findIndex(here);
    if (doubt < 0 || !here(doubts[doubt])) doubt = seen >= 0 ? seen : step > 0 ? -1 : 0;
    doubt = (doubt + step + doubts.length) % doubts.length;
    doubts[doubt].click();
    // Only the list moves, not the page.
    const list = element("doubts");
    list.scrollTop = doubts[doubt].offsetTop - list.offsetTop - list.clientHeight / 3;
  }

  const actions = {
    "play": () => { if (playing) stop(); else if (play) start(); show(); },
    "previous-frame": () => go((frame + frames - 1) % frames, slice),
    "next-frame": () => go((frame + 1) % frames, slice),
    "first-frame": () => go(0, slice),
    "last-frame": () => go(frames - 1, slice),
    // The heart may beat on while the reader looks at another slice.
    "previous-slice": () => { slice = within(slice - 1, slices); show(); },
    "next-slice": () => { slice = within(slice + 1, slices); show(); },
    "zoom-in": () => zoom(ZOOM),
    "zoom-out": () => zoom(1 / ZOOM),
    "heart": () => fill(data.heart),
    "whole": () => fill(WHOLE),
    "contours": () => {
      const classes = toggles.filter(toggle => toggle.dataset.class !== undefined);
      const on = !classes.some(toggle => toggle.getAttribute("aria-pressed") === "true");
      classes.forEach(toggle => press(toggle, on));
      draw();
    },
    "previous-doubt": () => nextDoubt(-1),
    "next-doubt": () => nextDoubt(1),
  };
  const keys = {
    "ArrowLeft": "previous-frame", "ArrowRight": "next-frame", "ArrowUp": "previous-slice", "ArrowDown": "next-slice",
    "Home": "first-frame", "End": "last-frame", " ": "play", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out",
    "0": "heart", "c": "contours", "n": "next-doubt", "p": "previous-doubt",
  };

  section.addEventListener("click", event => {
    const clicked = event.target.closest("button, a");
    if (!clicked) return;
    const { action, class: index, box, frame: t = frame, slice: z = slice } = clicked.dataset;
    if (action) actions[action]();
    else if (index !== undefined || box !== undefined) {
      press(clicked, clicked.getAttribute("aria-pressed") !== "true");
      draw();
    } else {
      if (doubts.includes(clicked)) reach(doubt = doubts.indexOf(clicked));
      go(Number(t), Number(z));
    }
    if (clicked.tagName === "A") {
      event.preventDefault();
      player.scrollIntoView({ block: "nearest" });
    }
  });

  section.addEventListener("keydown", event => {
    const { target, key } = event, action = keys[key.length === 1 ? key.toLowerCase() : key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    // In the list, the keys up and down go from doubt to doubt.
    const listed = doubts.indexOf(target), step = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (listed >= 0 && step) {
      event.preventDefault();
      reach(within(listed + step, doubts.length));
      doubts.find(button => button.tabIndex === 0).focus();
      return;
    }
    // These have keys of their own.
    if (target.matches("input, select, a") || (key === " " && target.matches("button"))) return;
    event.preventDefault();
    actions[action]();
  });

  for (const slider of Object.values(sliders)) {
    slider?.addEventListener("input", () => {
      if (slider === sliders.slice) { slice = Number(slider.value); show(); }
      else go(Number(slider.value), slice);
    });
  }

  // A wheel that scrolls the page and arrives at the image goes on to scroll the page.
  let scrolled = -Infinity, turned = 0;
  window.addEventListener("wheel", event => {
    if (event.target !== canvas || event.timeStamp - scrolled < SCROLLING_MS) {
      scrolled = event.timeStamp;
      return;
    }
    event.preventDefault();
    if (event.ctrlKey) {
      zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, ...point(event));
      return;
    }
    turned += event.deltaY * (event.deltaMode ? WHEEL_PX : 1);
    const steps = Math.trunc(turned / WHEEL_PX);
    if (!steps) return;
    turned = 0;
    actions[`${steps > 0 ? "next" : "previous"}-${slices > 1 ? "slice" : "frame"}`]();
  }, { passive: false });

  // Where the pointer is, in px of the image.
  function point(event) {
    const box = canvas.getBoundingClientRect();
    return [
      view.x + (event.clientX - box.left - box.width / 2) / (view.scale * columnMm),
      view.y + (event.clientY - box.top - box.height / 2) / (view.scale * rowMm),
    ];
  }

  // A finger steps through the frames until the reader zooms. Then it moves the image, as the mouse does.
  let grip = null;
  canvas.addEventListener("pointerdown", event => {
    grip = { x: event.clientX, y: event.clientY };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (!grip) return;
    const x = event.clientX - grip.x, y = event.clientY - grip.y;
    if (event.pointerType === "touch" && fitted) {
      if (Math.abs(x) < SWIPE_PX) return;
      actions[`${x < 0 ? "next" : "previous"}-${frames > 1 ? "frame" : "slice"}`]();
    } else {
      if (fitted && Math.hypot(x, y) < 4) return;
      zoom(1);
      view.x -= x / (view.scale * columnMm);
      view.y -= y / (view.scale * rowMm);
      draw();
    }
    grip = { x: event.clientX, y: event.clientY };
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { grip = null; });
  canvas.addEventListener("dblclick", () => fill(fitted === data.heart ? WHOLE : data.heart));

  function seek(event) {
    const { left, step, top, row } = timeline.dataset, box = timeline.getBoundingClientRect();
    const unit = timeline.viewBox.baseVal.width / box.width;
    const t = Math.floor(((event.clientX - box.left) * unit - left) / step);
    const z = Math.floor(((event.clientY - box.top) * unit - top) / row);
    go(t, z >= 0 && z < slices ? z : slice);
  }
  timeline?.addEventListener("pointerdown", event => {
    timeline.setPointerCapture(event.pointerId);
    seek(event);
  });
  timeline?.addEventListener("pointermove", event => { if (event.buttons & 1) seek(event); });

  reach(0);
  for (const button of doubts) button.dataset.said = button.lastChild.textContent.trim();
  player.hidden = false;
  section.classList.add("scripted");
  new ResizeObserver(() => { if (fitted) fit(); draw(); }).observe(canvas);
  fit();
  show();
}
