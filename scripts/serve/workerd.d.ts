/** The package is CommonJS without types: its default export is the path of the binary of this platform. */
declare module 'workerd' {
  const package_: { readonly default: string; readonly version: string };
  export default package_;
}
