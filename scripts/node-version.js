// Runs before `npm ci` on whatever Node is installed, so it uses nothing new. Prints one line on Node below 22.
const major = Number(process.versions.node.split('.')[0]);
if (major < 20) {
  console.error(`Node ${process.versions.node} is too old: install Node 20 or later (24 is best), then run this again.`);
  process.exit(1);
}
if (major < 22) {
  console.log(`Node ${process.versions.node} is enough: npm's scripts run with the Node 24 that is installed in node_modules.`);
}
