// Mosaics of all models: shows the score under the pointer and, on the home page, draws another
// score from its column in the colours of the page.
(function () {
  "use strict";

  function point(list) {
    var heads = null, metric = null, last = null;
    var output = document.createElement("output");
    list.addEventListener("pointerover", function () {
      var wanted = list.dataset.metric;
      if (metric === wanted) return;
      metric = wanted;
      heads = null;
      wikiHeads(function (found) {
        found.load([wanted], function () {
          if (metric !== wanted) return;
          heads = found;
          // the pointer may have been here before the scores were loaded
          if (last) show(last);
        });
      });
    });
    function at(event) {
      var frame = event.target.closest(".frame");
      if (!frame || !heads) return null;
      var m = heads.data.models.findIndex(function (model) { return model.slug === frame.dataset.slug; });
      var shape = heads.data.models[m], area = frame.getBoundingClientRect();
      var layer = Math.floor((event.clientX - area.left) / area.width * shape.layers);
      var head = Math.floor((event.clientY - area.top) / area.height * shape.heads);
      if (layer < 0 || head < 0 || layer >= shape.layers || head >= shape.heads) return null;
      if (shape.with_heads && shape.with_heads.indexOf(layer) < 0) return null;
      return {
        frame: frame, slug: shape.slug, name: "a" + layer + ".h" + head,
        value: heads.columns[metric][heads.first[m] + layer * shape.heads + head],
        x: event.clientX - area.left, y: event.clientY - area.top
      };
    }
    function show(event) {
      last = event;
      var found = at(event);
      if (!found) { output.remove(); return; }
      output.textContent = found.name + "  " +
        (found.value !== found.value ? "not measured" : +found.value.toPrecision(3));
      output.style.left = found.x + "px";
      output.style.top = found.y + "px";
      if (output.parentNode !== found.frame) found.frame.appendChild(output);
    }
    list.addEventListener("pointermove", show);
    list.addEventListener("pointerleave", function () { last = null; output.remove(); });
    list.addEventListener("click", function (event) {
      var found = at(event);
      if (!found || event.target.closest("svg")) return;
      event.preventDefault();
      location.href = document.documentElement.dataset.root + "m/" + found.slug + "/" + found.name + ".html";
    });
  }

  document.querySelectorAll(".panels").forEach(point);

  var section = document.getElementById("mosaic");
  if (!section) return;
  var pick = section.querySelector(".pick"), select = pick.querySelector("select");
  var original = {};
  section.querySelectorAll(".frame").forEach(function (frame) {
    var tile = frame.querySelector(".tile");
    original[frame.dataset.slug] = [tile.getAttribute("style"), tile.getAttribute("aria-label")];
  });

  // The colours are read from the gradient of the legend, so that they equal those of the build.
  function colours(name) {
    var text = getComputedStyle(document.documentElement).getPropertyValue(name);
    var stops = (text.match(/#[0-9a-f]{6}|rgb\([^)]*\)/gi) || []).map(function (stop) {
      if (stop[0] === "#") return [1, 3, 5].map(function (i) { return parseInt(stop.slice(i, i + 2), 16); });
      return stop.match(/\d+/g).map(Number);
    });
    return function (share) {
      var place = share * (stops.length - 1), below = Math.min(stops.length - 2, Math.floor(place));
      return stops[below].map(function (c, i) { return c + (place - below) * (stops[below + 1][i] - c); });
    };
  }

  function picture(column, start, shape, score, colour) {
    var canvas = document.createElement("canvas"), low = score.low, span = score.high - score.low;
    canvas.width = shape.layers;
    canvas.height = shape.heads;
    var context = canvas.getContext("2d"), image = context.createImageData(shape.layers, shape.heads);
    for (var layer = 0; layer < shape.layers; layer++) {
      for (var head = 0; head < shape.heads; head++) {
        var value = column[start + layer * shape.heads + head], at = 4 * (head * shape.layers + layer);
        if (value !== value) continue;
        var rgb = colour(Math.min(1, Math.max(0, (value - low) / span)));
        image.data[at] = rgb[0];
        image.data[at + 1] = rgb[1];
        image.data[at + 2] = rgb[2];
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    return "url(" + canvas.toDataURL() + ")";
  }

  function show(metric) {
    var option = select.selectedOptions[0], link = section.querySelector(".shown");
    section.querySelector(".panels").dataset.metric = metric;
    section.querySelector(".table").href = "s/" + option.dataset.slug + ".html";
    link.textContent = option.textContent;
    link.href = "s/" + option.dataset.slug + ".html";
    section.querySelector(".claim").textContent = option.dataset.claim;
    wikiState(metric === section.dataset.metric ? "index.html" : "?score=" + encodeURIComponent(metric));
    wikiHeads(function (heads) {
      heads.load([metric], function () {
        if (select.value !== metric) return;
        var score = heads.data.scores.find(function (s) { return s.metric === metric; });
        var scale = score.low < 0 ? "signed" : "share";
        var light = colours("--" + scale + "-light"), dark = colours("--" + scale + "-dark");
        var legend = section.querySelector(".scale"), ends = legend.querySelectorAll("b");
        legend.className = "scale " + scale;
        ends[0].textContent = String(score.low).replace("-", "−");
        ends[1].textContent = score.high;
        heads.data.models.forEach(function (shape, m) {
          var tile = section.querySelector(".frame[data-slug='" + CSS.escape(shape.slug) + "'] .tile");
          if (!tile) return;
          if (metric === section.dataset.metric) {
            tile.setAttribute("style", original[shape.slug][0]);
            tile.setAttribute("aria-label", original[shape.slug][1]);
            return;
          }
          var column = heads.columns[metric], start = heads.first[m];
          tile.style.setProperty("--l", picture(column, start, shape, score, light));
          tile.style.setProperty("--d", picture(column, start, shape, score, dark));
          tile.setAttribute("aria-label", shape.title + ". " + option.textContent +
            "; the numbers are on the page of the score.");
        });
      });
    });
  }

  pick.hidden = false;
  section.querySelector(".others").open = false;
  var wanted = new URLSearchParams(location.search).get("score");
  if (wanted) select.value = wanted;
  if (select.selectedIndex < 0) select.value = section.dataset.metric;
  if (select.value !== section.dataset.metric) show(select.value);
  select.addEventListener("change", function () { show(select.value); });
})();
