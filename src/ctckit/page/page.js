"use strict";
(() => {
  const items = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const [audio, strip, seek, play, list] = ["audio", "strip", "seek", "play", "words"].map(at);
  const UNSURE = 0.5; // confidence below which a word or token is unsure; page.html.j2 says so in its legend
  const WINDOW = 12; // seconds of the strip
  let item, buttons, leftward, current, wave, started, position, running, following;

  // -------------------------------------------------------------------- time: of the audio, or of a clock without it
  const hasAudio = () => item.audio !== null;
  const now = () => {
    if (hasAudio()) return audio.currentTime;
    return Math.min(item.duration, running ? position + (performance.now() - started) / 1000 : position);
  };
  const length = () => (hasAudio() && Number.isFinite(audio.duration) ? audio.duration : item.duration);
  const playing = () => (hasAudio() ? !audio.paused && !audio.ended : running);
  const go = (seconds) => {
    const time = Math.max(0, Math.min(length(), seconds));
    if (hasAudio()) audio.currentTime = time;
    position = time;
    started = performance.now();
    show(time);
  };
  const toggle = () => {
    following = true;
    centre();
    if (hasAudio()) {
      if (playing()) audio.pause();
      else audio.play().catch((error) => { at("facts").textContent = `cannot play: ${error.message}`; });
    } else {
      const time = now();
      position = !running && time >= item.duration ? 0 : time;
      started = performance.now();
      running = !running;
    }
    requestAnimationFrame(tick);
  };
  const tick = () => {
    const time = now();
    if (!hasAudio() && running && time >= item.duration) { position = time; running = false; }
    show(time);
    if (playing()) requestAnimationFrame(tick);
  };

  // ------------------------------------------------------------------------------------------------- what is shown
  const clock = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")}`;
  };
  const percent = (p) => (p === null ? "" : `${Math.round(100 * p)}%`);
  const isUnsure = (p) => p !== null && p < UNSURE;
  // The last word that starts at or before a time; -1 before the first.
  const lastStarted = (time) => {
    let low = 0, high = item.words.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (item.words[middle].start <= time + 1e-6) low = middle + 1; else high = middle;
    }
    return low - 1;
  };
  const spoken = (time) => {
    const index = lastStarted(time);
    return index >= 0 && time < item.words[index].end - 1e-6 ? index : -1;
  };
  const show = (time) => {
    const index = spoken(time);
    if (index !== current) {
      if (current >= 0) buttons[current].removeAttribute("aria-current");
      current = index;
      if (index >= 0) {
        buttons[index].setAttribute("aria-current", "true");
        if (playing() && following) centre();
        describe(item.words[index]);
      }
    }
    at("follow").hidden = following || !playing() || current < 0;
    seek.max = length();
    seek.value = time;
    seek.setAttribute("aria-valuetext", `${time.toFixed(1)} of ${length().toFixed(1)} seconds`);
    at("clock").textContent = `${clock(time)} / ${clock(length())}`;
    play.textContent = playing() ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing() ? "Stop" : "Play");
    draw(time);
  };
  const sureness = (p) => `${isUnsure(p) ? "unsure: " : ""}confidence ${percent(p)}`;
  const describe = (word) => {
    const span = (start, end) => item.timed
      ? `${start.toFixed(3)} – ${end.toFixed(3)} s`
      : `frames ${Math.round(start / item.step)} – ${Math.round(end / item.step)}`;
    const detail = at("detail");
    const name = document.createElement("b");
    name.textContent = word.text;
    name.dir = "auto";
    const sure = word.confidence === null ? "" : ` · ${sureness(word.confidence)}`;
    detail.replaceChildren(name, ` ${span(word.start, word.end)}${sure}`);
    if (word.tokens.length === 0) return;
    const table = detail.appendChild(document.createElement("table"));
    table.dir = isLeftward([word.text])[0] ? "rtl" : "ltr";
    const lines = [(t) => t[0], (t) => span(t[1], t[2]).replace(" s", ""), (t) => percent(t[3])];
    for (const line of lines) {
      const row = table.insertRow();
      for (const token of word.tokens) {
        const cell = row.insertCell();
        cell.dir = "auto";
        cell.textContent = line(token);
        cell.classList.toggle("unsure", line === lines[0] && isUnsure(token[3]));
      }
    }
  };
  // The reference and its error rates; the hypotheses with their scores.
  const showDecoding = () => {
    const element = (tag, text) => {
      const made = document.createElement(tag);
      made.textContent = text;
      made.dir = "auto";
      return made;
    };
    const parts = [];
    if (item.reference !== null) {
      const [text, wer, cer] = item.reference;
      const rates = [["word", wer], ["character", cer]].filter(([, rate]) => rate !== null);
      const said = rates.map(([unit, rate]) => ` · ${unit} error rate ${(100 * rate).toFixed(1)}%`).join("");
      parts.push(element("h3", `Reference${said}`), element("p", text));
    }
    if (item.hypotheses.length > 0) {
      const table = document.createElement("table");
      const head = table.createTHead().insertRow();
      head.append(...["Hypothesis", "score (nats)", "probability"].map((name) => element("th", name)));
      const body = table.createTBody();
      for (const [text, score, probability] of item.hypotheses) {
        const cells = [text, score === null ? "" : score.toFixed(2), percent(probability)];
        body.insertRow().append(...cells.map((cell) => element("td", cell)));
      }
      parts.push(table);
    }
    at("decoding").replaceChildren(...parts);
    at("decoding").hidden = parts.length === 0;
  };
  // Whether each text is written from right to left, by the rules of the browser.
  const isLeftward = (texts) => {
    const probes = texts.map((text) => {
      const probe = document.createElement("span");
      probe.dir = "auto";
      probe.textContent = text;
      return probe;
    });
    at("probes").replaceChildren(...probes);
    const answers = probes.map((probe) => getComputedStyle(probe).direction === "rtl");
    at("probes").replaceChildren();
    return answers;
  };
  const hue = (p) => (p < 0.5 ? 8 + 74 * p : 45 + 200 * (p - 0.5));
  const colour = (p) => (p === null ? null : { hue: hue(p), saturation: p < 0.5 ? 75 : 75 - 60 * (p - 0.5) });

  // ---------------------------------------------------------------------------------------------------- scrolling
  // The current word stays in the middle between player and details, until the user scrolls while it plays.
  const [root, player] = [document.documentElement, document.querySelector(".player")];
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const centre = () => {
    if (current >= 0) buttons[current].scrollIntoView({ block: "center", behavior: still.matches ? "instant" : "smooth" });
  };
  const leave = (event) => {
    if (!playing() || event.ctrlKey || event.target === strip || event.target === seek) return;
    following = false;
    show(now());
  };
  window.addEventListener("wheel", leave, { passive: true });
  window.addEventListener("touchmove", leave, { passive: true });
  window.addEventListener("mousedown", (event) => {
    if (event.target === root && event.clientX >= root.clientWidth) leave(event); // the scroll bar
  });
  at("follow").addEventListener("click", () => {
    following = true;
    centre();
    show(now());
  });
  const covered = new ResizeObserver(() => {
    const below = getComputedStyle(at("detail")).position === "sticky" ? at("detail").offsetHeight : 0;
    root.style.setProperty("scroll-padding", `${player.offsetHeight + 16}px 0 ${below + 8}px`);
  });
  covered.observe(player);
  covered.observe(at("detail"));

  // ------------------------------------------------------------------------------------------------------ the strip
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const stripWindow = (time) => {
    const span = Math.min(WINDOW, length()) || 1;
    return [Math.max(0, Math.min(length() - span, time - span / 2)), span];
  };
  const draw = (time) => {
    const ratio = window.devicePixelRatio || 1;
    const width = strip.clientWidth, height = strip.clientHeight;
    if (strip.width !== Math.round(width * ratio)) strip.width = Math.round(width * ratio);
    if (strip.height !== Math.round(height * ratio)) strip.height = Math.round(height * ratio);
    const pen = strip.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const [from, span] = stripWindow(time);
    const x = (seconds) => ((seconds - from) / span) * width;
    const top = 34, bottom = height - 16, middle = (top + bottom) / 2;
    const light = style("--lightness"), ink = style("--ink"), dim = style("--dim"), accent = style("--accent");
    pen.font = "13px system-ui, 'DejaVu Sans', sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    for (let i = Math.max(0, lastStarted(from)); i < item.words.length && item.words[i].start < from + span; i++) {
      const word = item.words[i], left = x(word.start), wide = Math.max(1.5, x(word.end) - left - 1);
      const c = colour(word.confidence) || { hue: 220, saturation: 10 };
      pen.fillStyle = i === current ? accent : `hsl(${c.hue} ${c.saturation}% ${light})`;
      pen.beginPath();
      pen.roundRect(left, 2, wide, top - 8, Math.min(5, wide / 2));
      pen.fill();
      pen.globalAlpha = i === current ? 0.2 : 0.35;
      pen.fillRect(left, top - 2, wide, bottom - top + 4);
      pen.globalAlpha = 1;
      if (pen.measureText(word.text).width < wide - 4) {
        pen.fillStyle = i === current ? style("--card") : ink;
        pen.fillText(word.text, left + wide / 2, 2 + (top - 8) / 2);
      }
      if (isUnsure(word.confidence)) {
        pen.strokeStyle = i === current ? style("--card") : ink;
        pen.lineWidth = 2;
        pen.setLineDash([2, 2]);
        pen.beginPath();
        pen.moveTo(left + Math.min(4, wide / 4), top - 9);
        pen.lineTo(left + wide - Math.min(4, wide / 4), top - 9);
        pen.stroke();
      }
    }
    pen.fillStyle = style("--wave");
    if (wave) {
      for (let column = 0; column < width; column++) {
        const a = Math.floor((from + (column / width) * span) * wave.rate);
        const b = Math.max(a + 1, Math.floor((from + ((column + 1) / width) * span) * wave.rate));
        let peak = 0;
        for (let i = a; i < b && i < wave.peaks.length; i++) peak = Math.max(peak, wave.peaks[i]);
        const half = Math.max(0.5, (peak * (bottom - top)) / 2);
        pen.fillRect(column, middle - half, 1, 2 * half);
      }
    } else pen.fillRect(0, middle, width, 1);
    pen.fillStyle = dim;
    pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    const step = [0.1, 0.2, 0.5, 1, 2, 5].find((s) => (s / span) * width > 50) || 10;
    for (let k = Math.ceil(from / step); k * step <= from + span; k++) {
      const place = x(k * step);
      pen.fillRect(place, bottom + 2, 1, 3);
      if (place > 15 && place < width - 15) pen.fillText(`${+(k * step).toFixed(1)} s`, place, height - 5);
    }
    pen.fillStyle = accent;
    pen.fillRect(x(time) - 1, 0, 2, bottom + 4);
  };
  // Peaks of the decoded audio, 200 per second. A format that the browser cannot decode has no waveform.
  const decode = async (address) => {
    const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (c) => c.charCodeAt(0));
    const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
    const samples = sound.getChannelData(0), rate = 200, size = sound.sampleRate / rate;
    const peaks = new Float32Array(Math.ceil(samples.length / size));
    let loudest = 1e-9;
    for (let i = 0; i < samples.length; i++) {
      const k = Math.floor(i / size), value = Math.abs(samples[i]);
      if (value > peaks[k]) peaks[k] = value;
      if (value > loudest) loudest = value;
    }
    return { peaks: peaks.map((peak) => peak / loudest), rate };
  };

  // ---------------------------------------------------------------------------------------------------- one item
  const open = (index) => {
    if (item && hasAudio()) audio.pause();
    item = items[index];
    [current, wave, position, running, started, following] = [-1, null, 0, false, 0, true];
    at("name").textContent = item.name;
    const sure = item.words.map((word) => word.confidence).filter((p) => p !== null);
    const mean = sure.length ? ` · mean confidence ${percent(sure.reduce((a, b) => a + b, 0) / sure.length)}` : "";
    const noun = item.spaced ? "word" : "token";
    const count = `${item.words.length} ${noun}${item.words.length === 1 ? "" : "s"}`;
    at("facts").textContent = `${count} · ${item.duration.toFixed(2)} s${mean}${hasAudio() ? "" : " · no audio"}`;
    const firsts = [0, ...item.lines], ends = [...item.lines, item.words.length];
    const text = (from, to) => item.words.slice(from, to).map((word) => word.text).join(" ");
    const turned = isLeftward(firsts.map((first, k) => text(first, ends[k])));
    leftward = item.words.map((_, i) => turned[firsts.findLastIndex((first) => first <= i)]);
    buttons = item.words.map((word, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dir = "auto";
      button.textContent = word.text;
      button.tabIndex = i === 0 ? 0 : -1;
      const c = colour(word.confidence);
      if (c) {
        button.style.setProperty("--hue", c.hue);
        button.style.setProperty("--saturation", `${c.saturation}%`);
        button.title = sureness(word.confidence);
        if (isUnsure(word.confidence)) {
          button.classList.add("unsure");
          button.setAttribute("aria-label", `${word.text}, unsure`);
        }
      }
      button.addEventListener("click", () => { visit(i, "nearest"); });
      return button;
    });
    list.replaceChildren(...firsts.map((first, k) => {
      const line = document.createElement("div");
      line.className = "line";
      line.dir = turned[k] ? "rtl" : "ltr";
      for (let i = first; i < ends[k]; i++) line.append(item.words[i].space ? " " : "", buttons[i]);
      return line;
    }));
    showDecoding();
    const unsure = sure.filter(isUnsure).length;
    at("unsure").hidden = unsure === 0;
    at("unsure").textContent = `${unsure} unsure`;
    at("unsure").setAttribute("aria-label", `${unsure} unsure: go to the next`);
    at("detail").replaceChildren(`Choose a ${noun} for its time${sure.length ? " and confidence" : ""}.`);
    if (hasAudio()) {
      audio.src = item.audio;
      const mine = item;
      decode(item.audio).then((peaks) => { if (item === mine) { wave = peaks; draw(now()); } }, () => {});
    } else audio.removeAttribute("src");
    show(0);
  };
  // The arrow keys move among the words. The tab key stops at one of them only.
  const visit = (i, block = "center") => {
    if (i < 0 || i >= buttons.length) return;
    for (const button of buttons) button.tabIndex = -1;
    buttons[i].tabIndex = 0;
    buttons[i].focus({ preventScroll: true });
    buttons[i].scrollIntoView({ block });
    following = true;
    go(item.words[i].start);
    describe(item.words[i]);
  };
  const nextUnsure = () => {
    const low = item.words.map((word, i) => [word, i]).filter(([word]) => isUnsure(word.confidence));
    const after = low.find(([, i]) => i > lastStarted(now())) || low[0];
    if (after) visit(after[1]);
  };
  const forward = () => visit(lastStarted(now()) + 1);
  const back = () => visit(Math.max(0, spoken(now()) < 0 ? lastStarted(now()) : lastStarted(now()) - 1));
  const isLeftwardHere = () => Boolean(leftward[Math.max(0, lastStarted(now()))]);
  document.addEventListener("keydown", (event) => {
    const place = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || place === seek || place.tagName === "SELECT") return;
    const onButton = [play, at("theme"), at("unsure"), at("follow")].includes(place);
    if (["PageUp", "PageDown", "ArrowUp", "ArrowDown"].includes(event.key)) leave(event);
    const keys = {
      " ": () => { if (onButton) return false; toggle(); },
      ArrowRight: () => (isLeftwardHere() ? back() : forward()),
      ArrowLeft: () => (isLeftwardHere() ? forward() : back()),
      Home: () => go(0),
      End: () => go(length()),
      n: nextUnsure,
      N: nextUnsure,
    };
    if (Object.hasOwn(keys, event.key) && keys[event.key]() !== false) event.preventDefault();
  });
  play.addEventListener("click", toggle);
  at("unsure").addEventListener("click", nextUnsure);
  seek.addEventListener("input", () => go(Number(seek.value)));
  const point = (event) => {
    if (event.type === "pointerdown") strip.setPointerCapture(event.pointerId);
    else if (!strip.hasPointerCapture(event.pointerId)) return;
    if (event.type === "pointerdown") point.window = stripWindow(now());
    const box = strip.getBoundingClientRect();
    go(point.window[0] + ((event.clientX - box.left) / box.width) * point.window[1]);
  };
  strip.addEventListener("pointerdown", point);
  strip.addEventListener("pointermove", point);
  for (const name of ["play", "pause", "ended", "seeked", "timeupdate", "loadedmetadata"]) {
    audio.addEventListener(name, () => { if (hasAudio()) requestAnimationFrame(tick); });
  }
  window.addEventListener("resize", () => draw(now()));

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = (theme) => {
    document.documentElement.dataset.theme = theme;
    document.documentElement.style.colorScheme = theme;
    if (item) draw(now());
  };
  at("theme").addEventListener("click", () => paint(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  paint(dark.matches ? "dark" : "light");

  items.forEach((each, index) => {
    const option = new Option(each.name, index);
    option.dir = "auto";
    at("items").add(option);
  });
  at("choice").hidden = items.length < 2;
  at("items").addEventListener("change", (event) => open(Number(event.target.value)));
  open(0);
})();
