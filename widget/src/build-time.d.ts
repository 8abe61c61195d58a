/** The panel's file name with its content hash: the build puts it in. */
declare const PANEL_FILE: string;

declare module "*.css?inline" {
  const css: string;
  export default css;
}
