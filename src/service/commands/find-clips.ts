import { SoundpostError } from '../../common/errors.js';
import type { Clips } from '../../clips/clips.js';
import { epochMs } from '../../mqtt/contract.js';
import type { ServiceControl } from '../../mqtt/command-table.js';

/** The commands about the sound of events. @param urlOf where the page has a clip; null where there is no page */
export function createClipCommands(
  clips: Pick<Clips, 'get' | 'list' | 'delete' | 'deleteAll' | 'forgetBefore'>,
  urlOf: (id: string) => string | null,
): ServiceControl['clips'] {
  return {
    async clip({ id }) {
      const found = await clips.get(id);
      if (found === null) {
        throw new SoundpostError(
          'clip_unknown',
          `There is no clip "${id}": it was not kept (speech, a full disk), is still being made, or has been deleted.`,
        );
      }
      return { ...found.clip, path: found.path, url: urlOf(id) };
    },
    'clip/list': (request) => clips.list(request),
    async 'clip/delete'(request) {
      if ('all' in request) return { deleted: await clips.deleteAll() };
      if ('before' in request) return { deleted: await clips.forgetBefore(epochMs(request.before)) };
      await clips.delete(request.id);
      return { deleted: 1 };
    },
  };
}
