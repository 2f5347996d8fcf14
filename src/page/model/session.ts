import { createStore } from '../lib/store.js';
import { noDevice, type Device } from './device.js';

/** What the page knows; every part looks here. */
export const device = createStore<Device>(noDevice);
