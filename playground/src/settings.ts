/** What the page remembers: in the local storage of this browser alone. */

export type Place = 'service' | 'browser';

export interface Settings {
  /** Address of the service; empty for the one that the page came from. */
  baseUrl: string;
  key: string;
  place: Place;
  /** Name of the model, as last told by the service: needed where there is no network to ask. */
  model: string;
}

const STORAGE_KEY = 'quicksilver-playground';

const DEFAULTS: Settings = { baseUrl: '', key: '', place: 'service', model: 'nano' };

export function loadSettings(): Settings {
  const settings = { ...DEFAULTS };
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '{}');
    if (typeof stored !== 'object' || stored === null) return settings;
    const { baseUrl, key, place, model } = stored as Partial<Record<keyof Settings, unknown>>;
    if (typeof baseUrl === 'string') settings.baseUrl = baseUrl;
    if (typeof key === 'string') settings.key = key;
    if (place === 'service' || place === 'browser') settings.place = place;
    if (typeof model === 'string') settings.model = model;
  } catch {
    // What is stored is broken, or nothing can be: the page works without.
  }
  return settings;
}

export function saveSettings(settings: Settings): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(settings));
  } catch {
    // Storage is full or refused: settings hold until the page is closed.
  }
}

/** Address without a slash at its end; that of the page where none is set. */
export function baseUrlOf({ baseUrl }: Settings): string {
  return (baseUrl === '' ? location.origin : baseUrl).replace(/\/+$/, '');
}

/** What is wrong with an address that a user enters; undefined when nothing is. */
export function addressProblem(address: string): string | undefined {
  if (address === '') return undefined;
  const url = URL.parse(address);
  if (url === null) return 'This is no address; it should look like https://host.example.';
  const isLocal = url.hostname === 'localhost' || url.hostname === '127.0.0.1';
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal)) return undefined;
  return 'Use https: an API key must not travel in the clear. Only this machine may be asked by http.';
}
