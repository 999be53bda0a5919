// Draws the charts of the page. Vega-Embed comes before this script, data beside it; nothing is fetched.
const page = JSON.parse(document.getElementById("page-data").textContent);

// `ast` lets Vega walk its expressions instead of compiling them, which the page's policy forbids.
async function drawChart(place, spec) {
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    ast: true,
    defaultStyle: false,
    tooltip: { theme: "page", disableDefaultStyle: true },
  };
  try {
    const drawn = await window.vegaEmbed(place, spec, options);
    place.dataset.drawn = "yes";
    return drawn;
  } catch (error) {
    place.textContent = `This chart could not be drawn: ${error.message}`;
    return null;
  }
}

for (const { name, specs } of page.charts) {
  const place = document.getElementById(`chart-${name}`);
  const choice = document.getElementById(`choice-${name}`);
  let drawn = null;
  const draw = async (index) => {
    const next = await drawChart(place, specs[index]);
    drawn?.finalize();
    drawn = next;
  };
  choice?.addEventListener("change", () => draw(Number(choice.value)));
  draw(choice ? Number(choice.value) : 0);
}

// What is folded on the screen is read on paper too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
