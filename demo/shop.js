/** The shop's own code: a basket, which the assistant can fill too, by a tool of this page. */
const shown = document.querySelector(".basket");
const products = [...document.querySelectorAll(".products h3")].map(({ textContent }) => textContent);
const basket = new Map();

/** Answers what is in the basket then. */
function add({ product, amount = 1 }) {
  basket.set(product, (basket.get(product) ?? 0) + amount);
  const items = [...basket].map(([product, amount]) => ({ product, amount }));
  shown.textContent = `Basket (${items.reduce((sum, { amount }) => sum + amount, 0)})`;
  shown.title = items.map(({ product, amount }) => `${amount} × ${product}`).join("\n");
  return { basket: items };
}

function offer() {
  const parameters = {
    type: "object",
    properties: {
      product: { type: "string", enum: products },
      amount: { type: "integer", minimum: 1, maximum: 10, description: "Without it: 1" },
    },
    required: ["product"],
    additionalProperties: false,
  };
  const description =
    "Puts a product of this page into the visitor's basket, and answers what is in it. Use it when the visitor wants to buy one.";
  window.AgentWidget.registerTool("add_to_basket", { description, parameters }, add);
}

// The widget's script may be there before or after this one.
if (window.AgentWidget) offer();
else document.addEventListener("agent-widget:ready", offer, { once: true });
