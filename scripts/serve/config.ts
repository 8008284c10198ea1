/** The configuration of one workerd, in the text form of Cap'n Proto (workerd.capnp of the package has the schema). */
import { join, relative } from 'node:path';
import { ASSETS_FOLDER, type Bundle } from './bundle.ts';

/** The socket for requests; its listener is the supervisor's. */
export const HTTP_SOCKET = 'http';
/** The socket for the supervisor; each process has a file of its own. */
export const CONTROL_SOCKET = 'control';

export interface WorkerdConfig {
  bundle: Bundle;
  /** Folder of all models. */
  models: string;
  /** Environment variables that the worker gets, as bindings of the same names. Their values stay out of the file. */
  variables: readonly string[];
  /** Folder of the configuration: paths of modules are relative to it. */
  folder: string;
  /** File of the supervisor's socket. Without one a process only has its own metrics, and cannot count requests. */
  supervisorPath?: string;
}

/** Makes the text of the file. */
export function workerdConfig({ bundle, models, variables, folder, supervisorPath }: WorkerdConfig): string {
  const embedded = (file: string) => `embed ${text(relative(folder, `${bundle.folder}/${file}`))}`;
  const modules = [
    `(name = ${text(bundle.main)}, esModule = ${embedded(bundle.main)})`,
    ...bundle.wasm.map((file) => `(name = ${text(file)}, wasm = ${embedded(file)})`),
  ];
  const bindings = [
    '(name = "MODELS", service = "models")',
    '(name = "ASSETS", service = "assets")',
    ...(supervisorPath === undefined ? [] : ['(name = "SUPERVISOR", service = "supervisor")']),
    ...variables.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
  ];
  const services = [
    '(name = "quicksilver", worker = .worker)',
    `(name = "models", disk = (path = ${text(models)}))`,
    `(name = "assets", disk = (path = ${text(join(bundle.folder, ASSETS_FOLDER))}))`,
    // The operator chooses the backends, and they are often in the same network.
    '(name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true)))',
    ...(supervisorPath === undefined
      ? []
      : [`(name = "supervisor", external = (address = ${text(`unix:${supervisorPath}`)}, http = ()))`]),
  ];
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [${list(services)}],
  sockets = [
    (name = "${HTTP_SOCKET}", http = (), service = "quicksilver"),
    (name = "${CONTROL_SOCKET}", http = (), service = (name = "quicksilver", entrypoint = "control")),
  ],
  logging = (structuredLogging = true),
);

const worker :Workerd.Worker = (
  modules = [${list(modules)}],
  compatibilityDate = ${text(bundle.compatibilityDate)},
  compatibilityFlags = [${bundle.compatibilityFlags.map(text).join(', ')}],
  bindings = [${list(bindings)}],
);
`;
}

/**
 * Cap'n Proto writes strings like C; JSON's escapes are a subset, except for the characters that JSON does not escape.
 */
function text(value: string): string {
  return JSON.stringify(value);
}

function list(entries: readonly string[]): string {
  return entries.map((entry) => `\n    ${entry},`).join('');
}
