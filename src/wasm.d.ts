/** The Workers runtime compiles imported .wasm files ahead of time; compiling bytes at run time is refused. */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
