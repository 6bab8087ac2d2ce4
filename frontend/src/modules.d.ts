/** Imports that bring no types: style sheets. */

declare module "*.css";
