// Attention as text: a token that is pointed at or in focus lights up its sources.
(function () {
  "use strict";

  function make(tag, css, text) {
    var made = document.createElement(tag);
    if (css) made.className = css;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function decode(text) {
    return Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); });
  }

  function percent(weight) {
    var share = 100 * weight / 255;
    return share >= 0.5 ? Math.round(share) + " %" : share > 0 ? "< 1 %" : "0 %";
  }

  // The view of one head: a choice of prompts, the pattern with its labels, and the tokens.
  function View(place, name, texts, patterns) {
    var view = this;
    this.name = name;
    this.texts = texts;
    this.patterns = patterns;
    this.chosen = 0;
    this.follows = null;
    this.select = make("select");
    patterns.forEach(function (pattern, i) {
      var text = texts[pattern[0]], option = make("option");
      option.value = i;
      option.textContent = text.task + ", " + (text.side === "clean" ? "prompt " : text.side + " prompt ") + (text.prompt + 1);
      view.select.appendChild(option);
    });
    var label = make("label", "", "Prompt ");
    label.appendChild(this.select);
    this.note = make("span", "hint");
    this.grid = make("div", "att-grid");
    this.tokens = make("div", "att-tokens");
    this.tokens.setAttribute("role", "group");
    this.tokens.setAttribute("aria-label", "Tokens; arrow keys choose the query of " + name);
    this.said = make("p", "att-said");
    this.said.setAttribute("role", "status");
    place.textContent = "";
    [label, this.note, this.tokens, this.said].forEach(function (part) { place.appendChild(part); });
    // the page of a head has a pattern already
    var around = place.dataset.head ? place.appendChild(make("details")) : place;
    if (around !== place) around.appendChild(make("summary", "", "The whole pattern"));
    around.appendChild(this.grid);
    this.select.addEventListener("change", function () { view.open(+view.select.value, true); });
    this.tokens.addEventListener("keydown", function (event) { view.key(event); });
    this.tokens.addEventListener("pointerleave", function () { view.show(view.kept); });
    label.hidden = patterns.length < 2;
    this.open(0);
  }

  View.prototype.text = function () { return this.texts[this.patterns[this.chosen][0]]; };

  View.prototype.open = function (chosen, tell) {
    var view = this, text, size;
    this.chosen = chosen;
    this.select.value = chosen;
    text = this.text();
    size = text.tokens.length;
    this.weights = decode(this.patterns[chosen][1]);
    this.note.textContent = text.start ? " " + text.start + " tokens before these are not shown." : "";
    this.tokens.textContent = "";
    this.buttons = text.tokens.map(function (token, i) {
      var button = make("button", "tok", token), share = make("small");
      button.type = "button";
      button.tabIndex = -1;
      share.setAttribute("aria-hidden", "true");
      button.appendChild(share);
      button.addEventListener("pointerenter", function () { view.show(i, true); });
      button.addEventListener("focus", function () { view.keep(i); });
      button.addEventListener("click", function () { view.keep(i); });
      view.tokens.appendChild(button);
      return button;
    });
    this.drawGrid(text, size);
    this.keep(size - 1);
    if (tell && this.follows && this.follows.match(this) >= 0) this.follows.open(this.follows.match(this));
  };

  // The pattern as a picture, rows and columns with their tokens.
  View.prototype.drawGrid = function (text, size) {
    var view = this, columns = make("ol", "cols"), rows = make("ol", "rows"), canvas = make("canvas");
    text.tokens.forEach(function (token) {
      columns.appendChild(make("li", "", token));
      rows.appendChild(make("li", "", token));
    });
    this.grid.textContent = "";
    this.grid.style.setProperty("--n", size);
    [columns, rows].forEach(function (list) { list.setAttribute("aria-hidden", "true"); });
    canvas.width = canvas.height = size;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Attention of " + this.name + ": rows are queries, columns are keys; the tokens give the numbers.");
    this.grid.appendChild(columns);
    this.grid.appendChild(rows);
    this.grid.appendChild(canvas);
    this.rows = rows;
    this.columns = columns;
    this.canvas = canvas;
    this.paint();
    canvas.addEventListener("pointermove", function (event) {
      var area = canvas.getBoundingClientRect();
      view.show(Math.min(size - 1, Math.max(0, Math.floor((event.clientY - area.top) / area.height * size))), true);
    });
    canvas.addEventListener("pointerleave", function () { view.show(view.kept); });
  };

  View.prototype.paint = function () {
    var size = this.canvas.width, context = this.canvas.getContext("2d"), image = context.createImageData(size, size);
    var colour = (getComputedStyle(this.canvas).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
    for (var i = 0; i < this.weights.length; i++) {
      for (var c = 0; c < 3; c++) image.data[4 * i + c] = colour[c];
      image.data[4 * i + 3] = this.weights[i];
    }
    context.putImageData(image, 0, 0);
  };

  // Shows where the token `query` looks; with `tell`, in a view beside this one too.
  View.prototype.show = function (query, tell) {
    var view = this, size = this.buttons.length, tokens = this.text().tokens, row = this.weights.subarray(query * size, query * size + size);
    this.buttons.forEach(function (button, key) {
      var weight = row[key];
      button.classList.toggle("query", key === query);
      button.style.setProperty("--w", weight / 255);
      button.lastChild.textContent = weight >= 2.55 ? percent(weight) : "";
      view.rows.children[key].classList.toggle("on", key === query);
      view.columns.children[key].style.setProperty("--w", weight / 255);
    });
    var sources = Array.from(row.keys()).filter(function (key) { return row[key] >= 2.55; })
      .sort(function (a, b) { return row[b] - row[a] || a - b; });
    this.said.textContent = "From " + tokens[query] + " (" + (query + 1) + ") it looks at " + (sources.slice(0, 4).map(function (key) {
      return tokens[key] + " (" + (key + 1) + ") " + percent(row[key]);
    }).join(", ") || "nothing shown here") + ".";
    if (tell !== false && this.follows && this.follows.isLike(this)) this.follows.show(query, false);
  };

  View.prototype.keep = function (query) {
    this.kept = query;
    this.buttons.forEach(function (button, i) { button.tabIndex = i === query ? 0 : -1; });
    this.show(query, true);
    if (this.follows && this.follows.isLike(this)) this.follows.kept = query;
  };

  View.prototype.key = function (event) {
    var last = this.buttons.length - 1, at = this.buttons.indexOf(document.activeElement);
    var to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: last }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    this.buttons[Math.min(last, Math.max(0, to))].focus();
  };

  // The pattern of this view on the text that another view shows, or -1.
  View.prototype.match = function (other) {
    var wanted = other.text().tokens.join("\u0000");
    return this.patterns.findIndex(function (pattern) { return this.texts[pattern[0]].tokens.join("\u0000") === wanted; }, this);
  };

  // Whether two views show the same tokens.
  View.prototype.isLike = function (other) {
    return this.text().tokens.join("\u0000") === other.text().tokens.join("\u0000");
  };

  // Makes each of two views follow the prompt and the query of the other, where both have the text.
  window.wikiFollow = function (one, two) {
    one.follows = two;
    two.follows = one;
    if (two.match(one) >= 0) two.open(two.match(one));
  };

  // Fills `place` with the attention of a head, and calls back with its view, or null if none is stored.
  window.wikiAttention = function (place, slug, name, then) {
    function nothing() {
      place.textContent = "No pattern of " + name + " on whole prompts is stored: a profile has those of some heads only. Its page shows examples.";
      then(null);
    }
    wikiGet("patterns/" + slug, function (data) {
      if (!data.heads[name]) { nothing(); return; }
      then(start(place, name, data.texts, data.heads[name]));
    }, nothing);
  };

  function start(place, name, texts, patterns) {
    var view = new View(place, name, texts, patterns);
    function repaint() { view.paint(); }
    new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    return view;
  }

  // One pattern that is written in the page itself, as on the home page.
  document.querySelectorAll(".attention[data-pattern]").forEach(function (place) {
    start(place, place.dataset.head, [JSON.parse(place.dataset.text)], [[0, place.dataset.pattern]]).keep(+place.dataset.query);
  });

  document.querySelectorAll(".attention[data-of]").forEach(function (place) {
    place.parentNode.hidden = false;
    new IntersectionObserver(function (seen, watcher) {
      if (!seen.some(function (one) { return one.isIntersecting; })) return;
      watcher.disconnect();
      wikiAttention(place, place.dataset.of, place.dataset.head, function () { /* nothing more to do */ });
    }, { rootMargin: "300px" }).observe(place);
  });
})();
