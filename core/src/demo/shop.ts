/**
 * The demo tenant: Fjord & Fern, a small outdoor-clothing shop that does not exist. Its documents are short, concrete
 * and free of contradictions, so that quoting a passage answers a real question.
 */
import { AFTER_SALES } from "./shop-after-sales.ts";
import { BEFORE_BUYING } from "./shop-before-buying.ts";
import type { ShopDocument } from "./shop-document.ts";

export const SHOP = {
  tenantName: "Fjord & Fern",
  siteName: "fjordandfern.example",
  agentName: "Fern",
  greeting: "Hello, I'm Fern. Ask me about delivery, returns, sizes, repairs, or anything else in the shop.",
  suggestions: [
    "How long does delivery take?",
    "Can I return something I have worn?",
    "When are you open on Saturday?",
    "Which size should I order?",
  ],
  instructions: [
    "You are Fern, the assistant of Fjord & Fern, a small shop in Bergen that sells and repairs outdoor clothing.",
    "Search the shop's documents before you answer a question about the shop, and answer from what you find. Mark each fact with the number of its source, like [1].",
    "When the documents do not hold the answer, say so plainly and give the contact address hello@fjordandfern.example. Never invent a price, a date or a policy.",
    "Be warm and brief: two or three sentences, unless the visitor asks for more. Answer in the visitor's language.",
  ].join("\n"),
  documents: [...BEFORE_BUYING, ...AFTER_SALES] satisfies readonly ShopDocument[],
} as const;
