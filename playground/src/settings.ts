/** Settings of the page, kept only in the local storage of this browser. */

export type Place = 'service' | 'browser';

export interface Settings {
  /** Address of the service; empty for the one that served the page. */
  baseUrl: string;
  key: string;
  place: Place;
  /** Name of the model that answered last, for use without a network. */
  model: string;
  /** The model that the user has picked; empty for the default of the service. */
  picked: string;
}

const STORAGE_KEY = 'quicksilver-playground';

const DEFAULTS: Settings = { baseUrl: '', key: '', place: 'service', model: '', picked: '' };

export function loadSettings(): Settings {
  const settings = { ...DEFAULTS };
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '{}');
    if (typeof stored !== 'object' || stored === null) return settings;
    const { baseUrl, key, place, model, picked } = stored as Partial<Record<keyof Settings, unknown>>;
    if (typeof baseUrl === 'string') settings.baseUrl = baseUrl;
    if (typeof key === 'string') settings.key = key;
    if (place === 'service' || place === 'browser') settings.place = place;
    if (typeof model === 'string') settings.model = model;
    if (typeof picked === 'string') settings.picked = picked;
  } catch {
    // The stored value is invalid, or there is no storage: the page works without.
  }
  return settings;
}

export function saveSettings(settings: Settings): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(settings));
  } catch {
    // Storage is full or refused: settings last until the page is closed.
  }
}

/** Address without a trailing slash; that of the page if none is set. */
export function baseUrlOf({ baseUrl }: Settings): string {
  return (baseUrl === '' ? location.origin : baseUrl).replace(/\/+$/, '');
}

/** The problem with an address entered by the user; undefined if it is valid. */
export function addressProblem(address: string): string | undefined {
  if (address === '') return undefined;
  const url = URL.parse(address);
  if (url === null) return 'This is no address; it should look like https://host.example.';
  const isLocal = url.hostname === 'localhost' || url.hostname === '127.0.0.1';
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal)) return undefined;
  return 'Use https: an API key must not travel in the clear. Only this machine may be asked by http.';
}
