// The browser's own tooltips come late and cannot be styled; without this script they still come.
(function () {
  var tip = document.getElementById("tip");
  document.querySelectorAll("svg title").forEach(function (title) {
    title.parentNode.setAttribute("data-tip", title.textContent);
    title.remove();
  });
  document.addEventListener("pointermove", function (event) {
    // marks may lie on each other: all that are under the pointer say what they are
    var under = [event.target].concat(document.elementsFromPoint(event.clientX, event.clientY));
    var texts = under.map(function (element) {
      var mark = element.closest && element.closest("[data-tip]");
      return mark && mark.getAttribute("data-tip");
    }).filter(function (text, place, all) { return text && all.indexOf(text) === place; });
    if (!texts.length) {
      tip.className = "";
      return;
    }
    var more = texts.length > 4 ? "\n\n… and " + (texts.length - 4) + " more" : "";
    tip.textContent = texts.slice(0, 4).join("\n\n") + more;
    tip.className = "on";
    var x = event.clientX + 14, y = event.clientY + 14;
    tip.style.left = Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = (y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : y) + "px";
  });
  // drag over a figure to enlarge a part of it; a double click shows all of it again
  document.querySelectorAll("svg.chart").forEach(function (figure) {
    var whole = figure.getAttribute("viewBox"), from = null, frame = null;
    function place(event) {
      var at = new DOMPoint(event.clientX, event.clientY).matrixTransform(figure.getScreenCTM().inverse());
      return [at.x, at.y];
    }
    function box(event) {
      var to = place(event);
      return [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
              Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    }
    figure.addEventListener("pointerdown", function (event) {
      if (event.pointerType === "mouse" && event.button === 0) from = place(event);
    });
    figure.addEventListener("pointermove", function (event) {
      if (!from) return;
      var b = box(event);
      if (!frame && b[2] + b[3] < 8) return;
      if (!frame) {
        frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        frame.setAttribute("class", "frame");
        figure.appendChild(frame);
      }
      ["x", "y", "width", "height"].forEach(function (name, n) { frame.setAttribute(name, b[n]); });
    });
    addEventListener("pointerup", function (event) {
      if (!from) return;
      var b = box(event);
      if (frame) {
        frame.remove();
        if (b[2] > 8 && b[3] > 8) figure.setAttribute("viewBox", b.join(" "));
      }
      from = frame = null;
    });
    figure.addEventListener("dblclick", function () { figure.setAttribute("viewBox", whole); });
  });
})();
// While its run runs, the page is written anew now and then.
(function () {
  var seconds = Number(document.documentElement.dataset.refresh || 0);
  if (!seconds || window !== window.top) return;
  setInterval(function () {
    if (!document.hidden && !String(getSelection())) location.reload();
  }, 1000 * seconds);
})();
