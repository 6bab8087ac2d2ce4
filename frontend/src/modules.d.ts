/** Imports that bring no types: style sheets, and libraries loaded for what they do. */

declare module "*.css";
declare module "htmx-ext-sse";
