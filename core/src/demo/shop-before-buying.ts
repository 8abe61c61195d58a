import { shopDocument, type ShopDocument } from "./shop-document.ts";

export const BEFORE_BUYING: readonly ShopDocument[] = [
  shopDocument(
    "shipping",
    "Shipping and delivery",
    "Orders placed before 14:00 on a working day leave our warehouse in Bergen the same day. Delivery within Norway takes 1 to 3 working days, to the other Nordic countries 2 to 4, to the rest of Europe 4 to 7, and to the United States and Canada 7 to 12 working days.",
    "Standard shipping costs 59 kr within Norway and is free for orders over 800 kr. Shipping to the rest of Europe costs 129 kr and is free over 1,500 kr. Express delivery within Norway costs 149 kr and arrives the next working day.",
    "You may collect an order from our shop in Bergen at no cost. We send a message when it is ready, usually within two hours, and keep it for seven days.",
    "We do not ship to post office boxes, and we cannot change the delivery address once a parcel has left the warehouse.",
  ),
  shopDocument(
    "opening-hours",
    "Opening hours and the shop in Bergen",
    "Our shop is at Strandgaten 48 in Bergen, five minutes on foot from the fish market. It is open Monday to Friday from 10:00 to 18:00, Thursday until 20:00, and Saturday from 10:00 to 16:00. We are closed on Sundays and on public holidays.",
    "In December the shop is also open on the three Sundays before Christmas, from 12:00 to 17:00. On Christmas Eve and New Year's Eve we close at 13:00.",
    "The nearest bus stop is Torget, and the nearest car park is Klostergarasjen. The entrance has no step, the fitting room is wide enough for a wheelchair, and dogs are welcome.",
    "The repair counter at the back of the shop is staffed Tuesday to Friday from 11:00 to 17:00.",
  ),
  shopDocument(
    "sizes",
    "Sizes and fit",
    "Our clothes follow European sizes. Measure your chest at its widest point: up to 92 cm is S, 93 to 100 cm is M, 101 to 108 cm is L, 109 to 116 cm is XL, and 117 to 126 cm is XXL. If you are between two sizes, take the larger one for jackets, which are worn over a sweater, and the smaller one for base layers, which should sit close to the skin.",
    "Trousers are sized by the waist in inches and come in three leg lengths: short (76 cm), regular (82 cm) and long (88 cm), measured on the inside.",
    "Boots run about half a size small. Order half a size up if you wear thick socks.",
    "Wool garments do not shrink when washed at 30 degrees on the wool programme and dried flat. Each product page shows the height of the model and the size worn.",
  ),
  shopDocument(
    "payment",
    "Payment methods",
    "We accept Visa, Mastercard and American Express, Vipps in Norway, PayPal, Apple Pay and Google Pay. You can also pay by invoice through Klarna within 14 days, or in three instalments without interest for orders between 1,000 and 15,000 kr.",
    "Your card is charged when the parcel leaves our warehouse, not when you place the order. Vipps and PayPal reserve the amount at once and are charged on dispatch.",
    "Prices include Norwegian value added tax. For deliveries outside Norway the tax of your country is calculated at checkout, so there is nothing more to pay at the door within the European Union. For the United States and Canada, import duties may be charged on delivery and are paid by the recipient.",
    "In the shop we take cards, Vipps and cash. We never store card numbers ourselves.",
  ),
  shopDocument(
    "gift-cards",
    "Gift cards",
    "Gift cards come in any whole amount from 200 to 10,000 kr. A digital gift card is sent by email within a few minutes, or on a day you choose up to a year ahead. A printed card in a linen envelope costs 25 kr more and is posted like any other order.",
    "A gift card is valid for three years from the day of purchase, online and in our shop in Bergen. It can be used in several purchases; what is left stays on the card. To see the balance, enter the card's number at the bottom of the checkout page or ask at the till.",
    "Gift cards cannot be exchanged for cash, and cannot buy another gift card. An unused card can be returned within 30 days by the person who bought it. If you lose a card, send us the order number and we will cancel it and issue a new one with what is left.",
  ),
  shopDocument(
    "loyalty",
    "The Trail Club: our loyalty programme",
    "Membership in the Trail Club is free. Members collect one point for every 10 kr spent, online and in the shop; 100 points are worth 50 kr. Points are added 30 days after the purchase, when the time for returns is over, and are valid for two years.",
    "Members get free standard shipping within Norway whatever the amount of the order, one free wash and re-waterproofing of a jacket each year, and a day's notice before every sale. On your birthday we send a voucher for 10 percent off one item.",
    "Join by ticking the box at checkout, or at the till with an email address. There is no card: your email address is your membership. You can leave at any time under My account, which deletes your points.",
    "Points cannot be used for gift cards or for shipping.",
  ),
  shopDocument(
    "sustainability",
    "Sustainability: wool, down and where things are made",
    "All our wool comes from farms in Norway and New Zealand that do not practise mulesing. Our down is certified under the Responsible Down Standard, and about 40 percent of it is recycled from old jackets. Since 2023 our rain jackets have been waterproofed without PFAS.",
    "Sweaters and base layers are knitted in Lithuania, jackets and trousers are sewn in Portugal, and boots are made in Italy. We visit each of the nine factories at least once a year and publish their names and addresses.",
    "Parcels travel in paper bags or cardboard boxes without plastic. Within Norway we ship by rail where there is a line.",
    "Bring us any worn-out garment, from any brand: we repair it, sell it second-hand or have its fibres recycled, and give you 100 kr off your next purchase over 500 kr.",
  ),
];
