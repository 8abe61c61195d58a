/** As a `ref`: gives the shadow root around an element a sheet, once. What is loaded late brings its style so. */
export const adopt = (sheet: CSSStyleSheet) => (element: Element | null) => {
  const root = element?.getRootNode() as ShadowRoot | undefined;
  if (root && !root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
};
