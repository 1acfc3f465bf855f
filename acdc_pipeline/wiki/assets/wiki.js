// Every page: theme button, keys, sortable tables, footer, cells of a mosaic.
(function () {
  "use strict";
  var root = document.documentElement;

  function theme() {
    var button = document.querySelector("button.theme");
    var next = { auto: "light", light: "dark", dark: "auto" };
    function say() { button.textContent = "Theme: " + (root.dataset.theme || "auto"); }
    button.hidden = false;
    button.addEventListener("click", function () {
      var chosen = next[root.dataset.theme || "auto"];
      if (chosen === "auto") delete root.dataset.theme; else root.dataset.theme = chosen;
      try { localStorage.setItem("theme", chosen); } catch (error) { /* storage may be forbidden */ }
      say();
    });
    say();
  }

  function keys() {
    document.addEventListener("keydown", function (event) {
      var field = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if ((event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !field)) {
        var box = document.querySelector("#filters input[name=q], .big input, .find input");
        event.preventDefault();
        box.focus();
        box.select();
        return;
      }
      if (field || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "j" || event.key === "k") {
        var link = document.querySelector("link[rel=" + (event.key === "j" ? "next" : "prev") + "]");
        if (link) location.href = link.href;
      }
      if (event.key === "t") document.querySelector("button.theme").click();
    });
  }

  function value(cell) {
    var text = cell ? cell.textContent.trim() : "";
    var number = parseFloat(text.replace(/[,≈]/g, "").replace(/−/g, "-"));
    return isNaN(number) ? (text === "–" ? -Infinity : text.toLowerCase()) : number;
  }

  function sortable(table) {
    table.querySelectorAll("thead th").forEach(function (head, column) {
      if (!head.textContent.trim()) return;
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") !== "descending";
        var body = table.tBodies[0];
        var rows = Array.prototype.map.call(body.rows, function (row, index) {
          return { row: row, key: value(row.cells[column]), index: index };
        });
        rows.sort(function (a, b) {
          var order = a.key === b.key ? 0 : typeof a.key === typeof b.key ? (a.key < b.key ? -1 : 1)
            : typeof a.key === "number" ? -1 : 1;
          return (down ? -order : order) || a.index - b.index;
        });
        rows.forEach(function (item) { body.appendChild(item.row); });
        table.querySelectorAll("th[aria-sort]").forEach(function (other) {
          other.removeAttribute("aria-sort");
        });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    });
  }

  function foot() {
    var place = document.querySelector("[data-build]");
    wikiGet("build", function (build) {
      place.textContent = " · site " + build.version + ": " + build.heads.toLocaleString("en") +
        " heads of " + build.models + (build.models === 1 ? " model, " : " models, ") + build.profiled + " profiled" +
        (build.newest ? "; newest run " + build.newest : "");
    });
  }

  // Loads the window for citations when it is asked for, or when the address names a data version.
  function citations() {
    function load(then) {
      var style = document.createElement("link"), script = document.createElement("script");
      style.rel = "stylesheet";
      style.href = root.dataset.root + "assets/cite.css";
      script.src = root.dataset.root + "assets/cite.js";
      style.onload = function () {
        script.onload = then;
        document.head.appendChild(script);
      };
      document.head.appendChild(style);
    }
    document.addEventListener("click", function (event) {
      var link = event.target.closest("[data-cite]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (window.wikiCite) window.wikiCite(); else load(function () { window.wikiCite(); });
    });
    if (new URLSearchParams(location.search).has("v")) load(function () {});
  }

  // On the page of a model: shows the score under the pointer, and makes cells links where the page
  // has none.
  function stage(field) {
    var box = field.querySelector(".stage");
    var layers = +box.dataset.layers, heads = +box.dataset.heads;
    var withHeads = box.dataset.withHeads ? box.dataset.withHeads.split(" ").map(Number) : null;
    var output = document.createElement("output");
    var data = null, asked = false, last = null;
    output.hidden = true;
    box.appendChild(output);
    function place(event) {
      var area = box.getBoundingClientRect();
      var layer = Math.floor((event.clientX - area.left) / area.width * layers);
      var head = Math.floor((event.clientY - area.top) / area.height * heads);
      if (layer < 0 || head < 0 || layer >= layers || head >= heads) return null;
      if (withHeads && withHeads.indexOf(layer) < 0) return null;
      return { layer: layer, head: head, x: event.clientX - area.left, y: event.clientY - area.top };
    }
    function show(event) {
      last = event;
      var at = place(event);
      if (!asked) {
        asked = true;
        wikiGet(root.dataset.model, function (found) {
          data = found;
          // the pointer may have been here before the scores were loaded
          if (last) show(last);
        });
      }
      output.hidden = !at;
      if (!at) return;
      var metric = field.querySelector("input:checked").value;
      var column = data && data.scores[metric] && data.scores[metric].values;
      var score = column ? column[at.layer * heads + at.head] : undefined;
      output.textContent = "a" + at.layer + ".h" + at.head +
        (score === undefined ? "" : score === null ? "  not measured" : "  " + score.toPrecision(3));
      output.style.left = at.x + "px";
      output.style.top = at.y + "px";
    }
    box.addEventListener("pointermove", show);
    box.addEventListener("pointerleave", function () { last = null; output.hidden = true; });
    if (!box.querySelector("svg")) {
      box.addEventListener("click", function (event) {
        var at = place(event);
        if (at) location.href = "a" + at.layer + ".h" + at.head + ".html";
      });
    }
    var pick = document.querySelector("main .pick"), select = pick.querySelector("select"), all = pick.querySelector("button");
    function fold(folded) {
      field.classList.toggle("folded", folded);
      all.setAttribute("aria-expanded", String(!folded));
    }
    pick.hidden = false;
    fold(true);
    all.addEventListener("click", function () { fold(!field.classList.contains("folded")); });
    select.addEventListener("change", function () {
      field.querySelector("input[id='" + CSS.escape(select.value) + "']").checked = true;
      wikiState("#" + select.value.slice(2));
    });
    var wanted = location.hash.slice(1);
    var input = wanted && field.querySelector("input[id='k-" + CSS.escape(wanted) + "']");
    if (input) input.checked = true;
    select.value = field.querySelector("input:checked").id;
    field.addEventListener("change", function (event) {
      select.value = event.target.id;
      wikiState("#" + event.target.id.slice(2));
    });
  }

  // The pattern of a head: names of the keys above it, and the cell under the pointer in words.
  function pattern(figure) {
    var rows = figure.querySelector("ol"), mask = figure.querySelector(".mask"), columns = rows.cloneNode(true);
    var size = rows.children.length, output = document.createElement("output");
    columns.className = "cols";
    columns.setAttribute("aria-hidden", "true");
    rows.parentNode.insertBefore(columns, rows);
    rows.parentNode.classList.add("labelled");
    output.hidden = true;
    mask.appendChild(output);
    function light(key, query) {
      [[columns, key], [rows, query]].forEach(function (side) {
        Array.prototype.forEach.call(side[0].children, function (label, i) { label.classList.toggle("on", i === side[1]); });
      });
    }
    mask.addEventListener("pointermove", function (event) {
      var area = mask.getBoundingClientRect();
      var key = Math.floor((event.clientX - area.left) / area.width * size);
      var query = Math.floor((event.clientY - area.top) / area.height * size);
      output.hidden = key < 0 || query < 0 || key >= size || query >= size;
      if (output.hidden) return;
      light(key, query);
      output.textContent = "from " + rows.children[query].textContent + " to " + rows.children[key].textContent;
      output.style.left = event.clientX - area.left + "px";
      output.style.top = event.clientY - area.top + "px";
    });
    mask.addEventListener("pointerleave", function () { output.hidden = true; light(-1, -1); });
  }

  // The address contains the current state, so that it can be shared.
  window.wikiState = function (address) {
    try { history.replaceState(null, "", address); } catch (error) { /* forbidden by some browsers */ }
  };

  theme();
  keys();
  foot();
  citations();
  document.querySelectorAll("table[data-sortable]").forEach(sortable);
  document.querySelectorAll("fieldset.kinds").forEach(stage);
  document.querySelectorAll("figure.pattern").forEach(pattern);
})();
