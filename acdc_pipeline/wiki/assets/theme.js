// Loaded in the head, before anything is painted: what the reader chose decides the colours.
(function () {
  "use strict";
  var root = document.documentElement;
  var chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch (error) { /* storage may be forbidden */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  root.classList.add("js");
  var kept = {};
  // Data arrives as scripts, which call this.
  window.wikiData = function (name, value) { kept[name] = value; };
  window.wikiGet = function (name, then, failed) {
    if (name in kept) { then(kept[name]); return; }
    var script = document.createElement("script");
    script.src = root.dataset.root + "data/" + name + ".js";
    script.onload = function () { if (name in kept) then(kept[name]); else if (failed) failed(); };
    script.onerror = function () { if (failed) failed(); };
    document.head.appendChild(script);
  };
})();
