// Every page: "Cite" opens a window with a citation, a link that names the data version, and the
// data of the page; a link with ?v=VERSION says whether the page shows that version.
(function () {
  "use strict";
  var root = document.documentElement;
  var base = root.dataset.root;
  var model = root.dataset.model, head = root.dataset.head;
  var dialog = null, urls = [];

  function make(tag, text, attributes) {
    var element = document.createElement(tag);
    if (text) element.textContent = text;
    Object.keys(attributes || {}).forEach(function (name) { element.setAttribute(name, attributes[name]); });
    return element;
  }

  // The version of a model on its pages, that of the site on all others.
  function version(build) {
    var told = document.querySelector("footer code");
    return told ? told.textContent : build.version;
  }

  function address(own) {
    var found = new URL(location.href);
    found.searchParams.set("v", own);
    return found.href;
  }

  function asked() { return new URLSearchParams(location.search).get("v"); }

  // What the page says of the version in its address.
  function judge(wanted, build) {
    wikiGet("versions", function (versions) {
      var own = version(build), line = make("p", "", { class: "version", role: "status" });
      var known = (own !== build.version && versions.models[model]) || versions.site;
      var at = known.findIndex(function (each) { return each[0] === wanted; });
      var kept = versions.kept.find(function (each) {
        return each.version === wanted || (model && each.models[model] === wanted);
      });
      function say(text) { line.appendChild(document.createTextNode(text)); }
      function lead(href, text) { line.appendChild(make("a", text, { href: base + href })); }
      if (wanted === own) {
        say("The link to this page names data version " + own + ", which is the one shown.");
      } else {
        line.classList.add("other");
        say("The link to this page names data version " + wanted.slice(0, 40) +
          (at < 0 ? "" : " of " + known[at][1]) + ", but the page shows " + own +
          ": its numbers may differ. ");
        lead("changes.html" + (at > 0 ? "#v-" + known[at - 1][0] : ""),
          at > 0 ? "What changed since" : "What changed");
        say(at < 0 ? " does not list that version." : ".");
        if (kept) {
          say(" Its data: ");
          lead("data/versions/" + kept.version + "/" + (model || "index") + ".json", "JSON");
          say(".");
        }
      }
      var main = document.getElementById("main");
      main.insertBefore(line, main.firstChild);
    });
  }

  function copyable(text) {
    var box = make("div", "", { class: "copy" });
    var shown = make("pre", "", { tabindex: "0" });
    var button = make("button", "Copy", { type: "button" });
    shown.appendChild(make("code", text));
    button.addEventListener("click", function () {
      function done() { button.textContent = "Copied"; }
      function select() {
        // without the clipboard, which pages on a disk may not have
        var range = document.createRange();
        range.selectNodeContents(shown);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      }
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
    });
    box.appendChild(shown);
    box.appendChild(button);
    return box;
  }

  function quoted(text) { return text.replace(/[\\{}$&#^_%~]/g, function (c) {
    return c === "\\" ? "\\textbackslash{}" : c === "~" || c === "^" ? "\\" + c + "{}" : "\\" + c;
  }); }

  function file() {
    var name = location.pathname.split("/").pop().replace(/\.html$/, "") || "index";
    return name === model ? "" : name;
  }

  function title() { return document.title.replace(/ · Head wiki$/, ""); }

  function bibtex(own, year, link) {
    return "@misc{" + ["headwiki", model, file(), own].filter(Boolean).join("-") + ",\n  title = {" + quoted(title()) + "},\n" +
      "  howpublished = {Head wiki, made with acdc\\_pipeline},\n" +
      "  note = {data version " + own + "},\n" + (year ? "  year = {" + year + "},\n" : "") +
      "  url = {" + link.replace(/[{}\\]/g, encodeURIComponent) + "}\n}";
  }

  // The rows of the page: of a head those of its model's data, of other pages their tables.
  function tables() {
    return Array.prototype.map.call(document.querySelectorAll("main table"), function (table) {
      var names = Array.prototype.map.call(table.querySelectorAll("thead th"), function (cell, i) {
        return cell.textContent.trim() || "column " + (i + 1);
      });
      var label = table.closest("[aria-label]") || table.querySelector("caption");
      return {
        title: label ? (label.getAttribute("aria-label") || label.textContent).trim() : "",
        rows: Array.prototype.reduce.call(table.tBodies, function (all, body) {
          Array.prototype.forEach.call(body.rows, function (row) {
            var found = {};
            Array.prototype.forEach.call(row.cells, function (cell, i) {
              found[names[i] || "column " + (i + 1)] = cell.textContent.trim().replace(/\s+/g, " ");
            });
            all.push(found);
          });
          return all;
        }, [])
      };
    });
  }

  function headRows(data) {
    var at = /^a(\d+)\.h(\d+)$/.exec(head), scores = {};
    var index = +at[1] * data.n_heads + +at[2];
    Object.keys(data.scores).forEach(function (metric) {
      var values = data.scores[metric].values;
      if (values && values[index] !== null) scores[metric] = values[index];
    });
    return {
      layer: +at[1], head: +at[2], scores: scores,
      roles: data.roles.filter(function (role) { return role.head === head; }),
      circuits: data.circuits.filter(function (c) { return head in c.heads; }).map(function (c) {
        return { task: c.task, method: c.method, smallest: c.heads[head] };
      })
    };
  }

  // Of all tables of the site: what a page shows, in SQL that works over http as on the disk.
  function query() {
    var here = new URL(base || ".", location.href).href;
    // a path, of Windows too
    if (/^file:/.test(here)) here = decodeURIComponent(here.slice(7)).replace(/^\/(?=[A-Za-z]:)/, "");
    var page = location.pathname.split("/").slice(-2), kind = page[1].replace(/\.html$/, "");
    var metrics = Array.prototype.map.call(document.querySelectorAll("main [data-metric]"),
      function (box) { return box.dataset.metric; });
    var at = /^a(\d+)\.h(\d+)$/.exec(head), task = root.dataset.task, tests = [];
    function text(value) { return "'" + value.replace(/'/g, "''") + "'"; }
    var table = "scores", order = "";
    if (model) tests.push("slug = " + text(model));
    if (at) tests.push("layer = " + at[1], "head = " + at[2]);
    else if (task) { table = "edges"; tests.push("task = " + text(task)); }
    else if (page[0] === "k" && kind !== "index") { table = "roles"; tests.push("role = " + text(kind)); }
    else if (page[0] === "s" && metrics.length) {
      tests.push("metric IN (" + metrics.map(text).join(", ") + ")");
      order = "\nORDER BY value DESC";
    }
    return "SELECT * FROM " + text(here + "data/all." + table + ".parquet") +
      (tests.length ? "\nWHERE " + tests.join(" AND ") : "") + order + ";";
  }

  function blob(text, type, name) {
    var url = URL.createObjectURL(new Blob([text], { type: type }));
    urls.push(url);
    return make("a", name, { href: url, download: name });
  }

  function show(build, rows) {
    var own = version(build), link = address(own), newest = build.newest || "";
    var places = { title: title(), data_version: own, address: link, model: model || undefined };
    Object.keys(rows).forEach(function (name) { places[name] = rows[name]; });
    var text = "Head wiki: " + title() + ". Data version " + own +
      (newest ? ", newest run of the site " + newest : "") + ". " + link;
    dialog = make("dialog", "", { class: "cite", "aria-labelledby": "cite-title" });
    var close = make("button", "Close", { type: "button", class: "close" });
    close.addEventListener("click", function () { dialog.close(); });
    dialog.appendChild(make("h2", "Cite this page", { id: "cite-title" }));
    dialog.appendChild(close);
    [["As text", text], ["BibTeX", bibtex(own, newest.slice(0, 4), link)],
      ["Link with the data version", link]].forEach(function (part) {
      dialog.appendChild(make("h3", part[0]));
      dialog.appendChild(copyable(part[1]));
    });
    var more = make("p");
    more.appendChild(make("a", "What changed", { href: base + "changes.html" }));
    more.appendChild(document.createTextNode(" lists the versions of each day."));
    dialog.appendChild(more);
    dialog.appendChild(make("h2", "Data of this page"));
    var files = make("p");
    var name = [model, file(), own, "json"].filter(Boolean).join(".");
    files.appendChild(make("span", "What it shows: "));
    files.appendChild(blob(JSON.stringify(places, null, 1) + "\n", "application/json", name));
    files.appendChild(make("span", ". Files: "));
    (model ? [model + ".json", model + ".scores.parquet", model + ".edges.parquet"]
      : ["index.json", "all.scores.parquet", "all.roles.parquet", "all.edges.parquet"])
      .forEach(function (file, i) {
        if (i) files.appendChild(document.createTextNode(", "));
        files.appendChild(make("a", file, { href: base + "data/" + file }));
      });
    dialog.appendChild(files);
    dialog.appendChild(make("h3", "With DuckDB"));
    dialog.appendChild(copyable(query()));
    dialog.addEventListener("close", function () {
      urls.forEach(function (url) { URL.revokeObjectURL(url); });
      urls = [];
      dialog.remove();
      dialog = null;
    });
    document.body.appendChild(dialog);
    dialog.showModal();
  }

  window.wikiCite = function () {
    if (dialog) return;
    wikiGet("build", function (build) {
      if (head) wikiGet(model, function (data) { show(build, headRows(data)); });
      else show(build, { tables: tables() });
    });
  };
  if (asked()) wikiGet("build", function (build) { judge(asked(), build); });
})();
