// What feeds a head: a tab for each task, and the table of pairs of sources, filled when it is opened.
(function () {
  "use strict";
  var names = { rest: "others", bias: "biases" };

  function make(tag, css, text) {
    var made = document.createElement(tag);
    if (css) made.className = css;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function signed(value) {
    return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
  }

  function called(name) { return names[name] || name; }

  function label(name) {
    var cell = make("th");
    cell.scope = "col";
    if (name[0] !== "a") { cell.textContent = called(name); return cell; }
    var link = make("a", "", name);
    link.href = name + ".html";
    link.tabIndex = -1;
    cell.appendChild(link);
    return cell;
  }

  function table(data, said) {
    var made = make("table", "heat"), head = made.createTHead().insertRow(), body = made.createTBody();
    var largest = Math.max.apply(null, data.s.map(Math.abs)) / 100 || 1, cells = [];
    made.setAttribute("role", "grid");
    made.setAttribute("aria-label", "Contributions of pairs of sources; arrow keys choose a pair");
    head.appendChild(make("td", "", "query ↓ key →"));
    data.k.forEach(function (name) { head.appendChild(label(name)); });
    data.q.forEach(function (query, i) {
      var row = body.insertRow(), first = label(query);
      first.scope = "row";
      row.appendChild(first);
      data.k.forEach(function (key, j) {
        var value = data.s[i * data.k.length + j] / 100, cell = row.insertCell();
        cell.textContent = signed(value);
        cell.tabIndex = cells.length ? -1 : 0;
        cell.className = value < 0 ? "neg" : "";
        cell.style.setProperty("--w", Math.abs(value) / largest);
        function say() {
          said.textContent = "What " + called(query) + " gives the query meets what " + called(key) + " gives the key: " + signed(value) + ".";
        }
        cell.addEventListener("pointerenter", say);
        cell.addEventListener("focus", say);
        cells.push(cell);
      });
    });
    body.addEventListener("keydown", function (event) {
      var at = cells.indexOf(event.target), wide = data.k.length;
      var to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - wide, ArrowDown: at + wide }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      if (!cells[to] || (Math.abs(to - at) === 1 && Math.floor(to / wide) !== Math.floor(at / wide))) return;
      cells[at].tabIndex = -1;
      cells[to].tabIndex = 0;
      cells[to].focus();
    });
    return made;
  }

  function line(title, found, format) {
    var made = make("p", "edges");
    made.appendChild(make("b", "", title));
    found.forEach(function (one, i) {
      made.appendChild(document.createTextNode(i ? ", " : " "));
      made.appendChild(make("bdi", "", one[one.length - 2]));
      made.appendChild(make("small", "", " " + format(one[one.length - 1])));
    });
    return made;
  }

  function fill(place, data) {
    var said = make("p", "hint said"), around = make("div", "wide");
    said.setAttribute("role", "status");
    around.appendChild(table(data, said));
    place.appendChild(make("p", "hint", "Parts of the score of that key above the mean of the other keys; all cells add up to it."));
    place.appendChild(around);
    place.appendChild(said);
    place.appendChild(line("Read at", data.t, function (share) { return Math.round(100 * share) + " %"; }));
    place.appendChild(line("Raises", data.up, signed));
    place.appendChild(line("Lowers", data.down, signed));
  }

  // Parts of the page, of which one is shown; the address names it.
  function tabs(parts) {
    var list = make("div", "tabs"), buttons = parts.map(function (part, i) {
      var button = make("button", "", part.querySelector("h3").textContent);
      button.type = "button";
      button.id = "tab-" + part.id;
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", part.id);
      part.setAttribute("role", "tabpanel");
      part.setAttribute("aria-labelledby", button.id);
      button.addEventListener("click", function () { choose(i); wikiState("#" + part.id); });
      list.appendChild(button);
      return button;
    });
    function choose(chosen) {
      parts.forEach(function (part, i) {
        part.hidden = i !== chosen;
        buttons[i].setAttribute("aria-selected", String(i === chosen));
        buttons[i].tabIndex = i === chosen ? 0 : -1;
      });
    }
    function follow() {
      var at = parts.findIndex(function (part) { return "#" + part.id === location.hash; });
      if (at >= 0) { choose(at); list.scrollIntoView({ block: "nearest" }); }
    }
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Task");
    list.addEventListener("keydown", function (event) {
      var by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], at = buttons.indexOf(document.activeElement);
      if (!by || at < 0) return;
      event.preventDefault();
      at = (at + by + buttons.length) % buttons.length;
      buttons[at].focus();
      buttons[at].click();
    });
    parts[0].parentNode.insertBefore(list, parts[0]);
    choose(0);
    follow();
    addEventListener("hashchange", follow);
  }

  var parts = Array.prototype.slice.call(document.querySelectorAll(".part"));
  if (parts.length > 1) tabs(parts);
  document.querySelectorAll(".pairs").forEach(function (place) {
    var root = document.documentElement.dataset, asked = false;
    place.hidden = false;
    place.addEventListener("toggle", function () {
      if (asked || !place.open) return;
      asked = true;
      wikiGet("why/" + root.model, function (all) {
        fill(place, all.heads[root.head][place.dataset.number]);
      }, function () { place.appendChild(make("p", "", "The data file is missing.")); });
    });
  });
})();
