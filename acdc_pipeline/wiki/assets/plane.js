// A plane of points: ticks, lines and points on a canvas, and which point is near a place.
(function () {
  "use strict";
  var LEFT = 58, RIGHT = 14, TOP = 22, BOTTOM = 44, REACH = 14, CELL = 20, MANY = 4000;

  // At most `count` round numbers from `low` to `high`.
  function ticks(low, high, count) {
    var rough = (high - low) / count, power = Math.pow(10, Math.floor(Math.log10(rough)));
    var step = power * [1, 2, 5, 10].find(function (n) { return n * power >= rough; }), out = [];
    for (var i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9; i++) out.push(+(i * step).toPrecision(10));
    return out;
  }

  // The range of the finite values of `numbers` in a column, and of the marks on it, with a margin.
  function range(column, numbers, marks) {
    var low = Infinity, high = -Infinity;
    function include(value) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    for (var i = 0; i < numbers.length; i++) include(column[numbers[i]]);
    if (low > high) return { low: 0, high: 1 };
    marks.forEach(include);
    var margin = 0.04 * (high - low) || Math.abs(high) * 0.1 || 0.5;
    return { low: low - margin, high: high + margin };
  }

  function Plane(box) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.numbers = [];
  }

  Plane.prototype.left = function (value) {
    return LEFT + (value - this.x.low) / (this.x.high - this.x.low) * (this.width - LEFT - RIGHT);
  };
  Plane.prototype.top = function (value) {
    return this.height - BOTTOM - (value - this.y.low) / (this.y.high - this.y.low) * (this.height - TOP - BOTTOM);
  };
  Plane.prototype.values = function (left, top) {
    var x = (left - LEFT) / (this.width - LEFT - RIGHT), y = (this.height - BOTTOM - top) / (this.height - TOP - BOTTOM);
    function inside(share) { return Math.min(1, Math.max(0, share)); }
    return {
      x: this.x.low + inside(x) * (this.x.high - this.x.low),
      y: this.y.low + inside(y) * (this.y.high - this.y.low)
    };
  };

  // Draws the points `numbers` of the columns `xs` and `ys`; `look` has colours, `mark(number)`
  // (colour and shape of a point), `lines` of both axes and the titles of the axes.
  Plane.prototype.draw = function (numbers, xs, ys, look) {
    var plane = this, context = this.canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    this.numbers = numbers;
    this.xs = xs;
    this.ys = ys;
    function levels(lines) { return lines.map(function (line) { return line.value; }); }
    this.x = range(xs, numbers, levels(look.x.lines));
    this.y = range(ys, numbers, levels(look.y.lines));
    this.width = this.box.clientWidth;
    this.height = this.box.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = "11px " + look.font;
    this.frame(context, look);
    var many = numbers.length > MANY, size = many ? 3 : 8;
    this.index = new Map();
    context.globalAlpha = many ? 0.6 : 0.85;
    for (var i = 0; i < numbers.length; i++) {
      var left = this.left(xs[numbers[i]]), top = this.top(ys[numbers[i]]);
      var cell = (top / CELL | 0) * 4096 + (left / CELL | 0), there = this.index.get(cell);
      if (there) there.push(i); else this.index.set(cell, [i]);
      var mark = look.mark(numbers[i]);
      context.fillStyle = mark.colour;
      if (many) context.fillRect(left - size / 2, top - size / 2, size, size);
      else { shape(context, mark.shape, left, top, size / 2); context.fill(); }
    }
    context.globalAlpha = 1;
    this.lines(context, look);
  };

  function shape(context, kind, x, y, r) {
    context.beginPath();
    if (kind === 0) context.arc(x, y, r, 0, 7);
    else if (kind === 1) context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
    else {
      var points = kind === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
      points.forEach(function (p) { context.lineTo(x + p[0] * r, y + p[1] * r); });
      context.closePath();
    }
  }

  Plane.prototype.frame = function (context, look) {
    var plane = this, right = this.width - RIGHT, bottom = this.height - BOTTOM;
    function line(x0, y0, x1, y1) {
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
    ticks(this.x.low, this.x.high, Math.max(2, this.width / 110)).forEach(function (value) {
      var at = plane.left(value);
      context.strokeStyle = value === 0 ? look.muted : look.rule;
      line(at, TOP, at, bottom);
      context.fillStyle = look.muted;
      context.textAlign = "center";
      context.fillText(String(value).replace("-", "−"), at, bottom + 15);
    });
    ticks(this.y.low, this.y.high, Math.max(2, this.height / 70)).forEach(function (value) {
      var at = plane.top(value);
      context.strokeStyle = value === 0 ? look.muted : look.rule;
      line(LEFT, at, right, at);
      context.fillStyle = look.muted;
      context.textAlign = "right";
      context.fillText(String(value).replace("-", "−"), LEFT - 6, at + 4);
    });
    context.fillStyle = look.ink;
    context.textAlign = "right";
    context.fillText(look.x.title + " →", right, this.height - 8);
    context.textAlign = "left";
    context.fillText("↑ " + look.y.title, 6, 13);
  };

  // Lines of roles and nulls over the points, each with its name at its end.
  Plane.prototype.lines = function (context, look) {
    var plane = this, used = [];
    function drawn(line, upright) {
      var at = upright ? plane.left(line.value) : plane.top(line.value);
      context.strokeStyle = context.fillStyle = line.dashed ? look.muted : look.line;
      context.setLineDash(line.dashed ? [4, 4] : []);
      context.beginPath();
      context.moveTo(upright ? at : LEFT, upright ? TOP : at);
      context.lineTo(upright ? at : plane.width - RIGHT, upright ? plane.height - BOTTOM : at);
      context.stroke();
      context.setLineDash([]);
      var width = context.measureText(line.name).width, y = upright ? TOP + 11 : at - 4;
      var x = upright ? at + 4 : plane.width - RIGHT - 4 - width;
      if (x + width > plane.width) x = at - 4 - width;
      // names that would lie upon each other stand below each other
      while (used.some(function (u) { return Math.abs(u.y - y) < 11 && u.x < x + width && x < u.x + u.width; })) y += 12;
      used.push({ x: x, y: y, width: width });
      context.lineWidth = 3;
      context.strokeStyle = look.ground;
      context.textAlign = "left";
      context.strokeText(line.name, x, y);
      context.lineWidth = 1;
      context.fillText(line.name, x, y);
    }
    look.x.lines.forEach(function (line) { drawn(line, true); });
    look.y.lines.forEach(function (line) { drawn(line, false); });
  };

  // The number of the point nearest to a place, or null if none is near.
  Plane.prototype.nearest = function (left, top) {
    var best = null, least = REACH * REACH;
    for (var row = (top - REACH) / CELL | 0; row <= (top + REACH) / CELL; row++) {
      for (var column = (left - REACH) / CELL | 0; column <= (left + REACH) / CELL; column++) {
        (this.index.get(row * 4096 + column) || []).forEach(function (i) {
          var number = this.numbers[i], dx = this.left(this.xs[number]) - left, dy = this.top(this.ys[number]) - top;
          if (dx * dx + dy * dy < least) { least = dx * dx + dy * dy; best = number; }
        }, this);
      }
    }
    return best;
  };

  // The next point in the direction of an arrow key, by the value on that axis; of equals, by number.
  Plane.prototype.next = function (number, key) {
    var column = /Left|Right/.test(key) ? this.xs : this.ys, sign = /Right|Up/.test(key) ? 1 : -1;
    function order(a, b) { return sign * (column[a] - column[b]) || a - b; }
    return this.numbers.reduce(function (best, other) {
      return order(other, number) > 0 && (best === null || order(other, best) < 0) ? other : best;
    }, null);
  };

  window.wikiPlane = Plane;
})();
