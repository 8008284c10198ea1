// Runs during `npm ci` and prints one line on Node below 22. npm runs this after it has installed the packages, and the
// `node` on the path is then the one among them: only npm's user agent (`npm/10.8.2 node/v20.20.2 …`) has the Node that
// the user has. Whatever Node runs this, it uses nothing new.
const [, version] = /\bnode\/v(\S+)/.exec(process.env.npm_config_user_agent || '') || [null, process.versions.node];
const major = Number(version.split('.')[0]);
if (major < 20) {
  console.error(`Node ${version} is too old: install Node 20 or later (24 is best), then run this again.`);
  process.exit(1);
}
if (major < 22) {
  console.log(`Node ${version} is enough: npm's scripts run with the Node 24 that is installed in node_modules.`);
}
