// Draws the charts of the page. Vega-Embed comes before this script, data beside it; nothing is fetched.
(() => {
  const charts = JSON.parse(document.getElementById("chart-data").textContent);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "page" } };
  for (const { name, specs } of charts) {
    const place = document.getElementById(`chart-${name}`);
    const choice = document.getElementById(`choice-${name}`);
    let drawn = null;
    const draw = async (index) => {
      try {
        const next = await window.vegaEmbed(place, specs[index], options);
        drawn?.finalize();
        drawn = next;
        place.dataset.drawn = "yes";
      } catch (error) {
        place.textContent = `This chart could not be drawn: ${error.message}`;
      }
    };
    choice?.addEventListener("change", () => draw(Number(choice.value)));
    draw(choice ? Number(choice.value) : 0);
  }
})();
