import type { Logger } from '../common/log.js';
import type { EngineEvents } from '../inference/engine-keeper.js';
import type { Pipeline } from '../inference/pipeline.js';
import { isoTime } from '../mqtt/contract.js';
import { standIn, type StateHolder } from './state.js';

/** Says in the log and in `B/state` what becomes of a model that fails. */
export function createModelNews(options: {
  /** Asked when something happens, and not before. */
  pipeline: () => Pick<Pipeline, 'givenUp' | 'model'>;
  /** Ends what the model has heard. */
  closeHeard: () => void;
  state: StateHolder;
  log: Logger;
}): EngineEvents {
  const { closeHeard, state, log } = options;
  return {
    engineLost({ code, reason, delayMs }) {
      closeHeard();
      log.error({ code }, `${sentence(reason)} Starting the model again in ${Math.ceil(delayMs / 1000)} s`);
    },
    fellBack({ from, to, reason, retryAtMs }) {
      closeHeard();
      log.error(
        { code: 'model_given_up' },
        `${from.manifest.id} is given up: ${sentence(reason)} Going on with ${to.manifest.id}; it is tried again at ${isoTime(retryAtMs)}`,
      );
    },
    stillOut({ model, reason, retryAtMs }) {
      log.warn(
        { code: 'model_given_up' },
        `${model.manifest.id} was tried again and does not work yet: ${sentence(reason)} The next try is at ${isoTime(retryAtMs)}`,
      );
      const { givenUp, model: atWork } = options.pipeline();
      state.change({ stand_in: standIn(givenUp, atWork) });
    },
    cameBack(model) {
      log.info({}, `${model.manifest.id} works again and has taken over`);
      state.change({ stand_in: null });
    },
  };
}

/** A reason of whatever origin with one full stop at its end. */
const sentence = (text: string): string => `${text.replace(/\.+$/, '')}.`;
