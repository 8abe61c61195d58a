/**
 * Words that people use for the same thing, a group a line: a visitor asks about the store, the documents speak of the
 * shop. Only words that hardly ever mean anything else on a site; forms of one word meet without being named here.
 */
export const SYNONYMS: readonly string[] = [
  "shop store",
  "parcel package",
  "price cost fee",
  "refund reimbursement",
  "repair mend fix",
  "zip zipper",
  "sweater jumper pullover",
  "trousers pants",
  "colour color",
  "discount rebate",
  "voucher coupon",
  "phone telephone",
  "children kids",
  "guarantee warranty",
];
