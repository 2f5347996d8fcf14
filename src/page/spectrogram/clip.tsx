import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { RequestError } from '../api/request.js';
import { useLoaded, useMedia } from '../lib/hooks.js';
import { clipSpectrogram, type ClipSpectrogram } from '../sound/log-mel.js';
import { ErrorNote } from '../parts/basics.js';
import { useWords } from '../texts/index.js';
import { colourColumns, colourTable } from './colours.js';
import { rangeOf } from './columns.js';

/** Whatever the rate of the file is: above 16 kHz there is little to see. */
const RATE_HZ = 32_000;

/** When the sound of the event begins and ends in its clip, in seconds; `ends` is null where nobody knows. */
export interface ClipMarks {
  begins: number;
  ends: number | null;
}

/** A clip with its spectrogram, computed here from its sound, and the controls to hear it. */
export function ClipPlayer(properties: { address: string; label: string; marks: ClipMarks }): JSX.Element {
  const { address, label, marks } = properties;
  const { t, format } = useWords();
  const audio = useRef<HTMLAudioElement>(null);
  const { data, error, isLoading } = useLoaded(address, () => loadClip(address));
  const [position, setPosition] = useState(0);
  const seconds = data?.seconds ?? 0;
  usePosition(audio, setPosition);
  const place = (at: number): string => `${seconds === 0 ? 0 : (100 * Math.min(at, seconds)) / seconds}%`;
  const told =
    marks.ends === null
      ? t.event.beginsAt(format.seconds(marks.begins))
      : t.event.marks(format.seconds(marks.begins), format.seconds(marks.ends));
  return (
    <>
      {error === null ? null : <ErrorNote error={error} />}
      <figure class="spectrogram clip">
        <div
          class="clip-frame"
          onClick={(event) => {
            const frame = event.currentTarget.getBoundingClientRect();
            const part = (event.clientX - frame.left) / frame.width;
            if (audio.current !== null && seconds > 0) audio.current.currentTime = part * seconds;
          }}
        >
          <ClipCanvas picture={data?.picture ?? null} label={`${label}. ${told}`} />
          {data === null ? (
            <p class="over-canvas">{isLoading ? t.loading : ''}</p>
          ) : (
            <>
              <span class="clip-mark begins" style={{ left: place(marks.begins) }} aria-hidden="true">
                <span>{t.event.begins}</span>
              </span>
              {marks.ends === null || marks.ends > seconds ? null : (
                <span class="clip-mark ends" style={{ left: place(marks.ends) }} aria-hidden="true">
                  <span>{t.event.ends}</span>
                </span>
              )}
              <span class="clip-position" style={{ left: place(position) }} aria-hidden="true" />
            </>
          )}
        </div>
        <figcaption class="dim">{told}</figcaption>
      </figure>
      <audio ref={audio} controls preload="metadata" src={address} aria-label={label} />
    </>
  );
}

/** Tells where the sound is, often enough for the eye while it plays. */
function usePosition(audio: { current: HTMLAudioElement | null }, tell: (seconds: number) => void): void {
  useEffect(() => {
    const player = audio.current;
    if (player === null) return undefined;
    let request = 0;
    const step = (): void => {
      tell(player.currentTime);
      request = player.paused ? 0 : requestAnimationFrame(step);
    };
    const events = ['play', 'pause', 'seeked', 'timeupdate'] as const;
    const look = (): void => {
      if (request === 0) step();
    };
    for (const name of events) player.addEventListener(name, look);
    return () => {
      cancelAnimationFrame(request);
      for (const name of events) player.removeEventListener(name, look);
    };
  }, []);
}

function ClipCanvas({ picture, label }: { picture: ClipSpectrogram | null; label: string }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const isDark = useMedia('(prefers-color-scheme: dark)');
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (picture === null || canvas.current === null || context == null) return;
    const { bands, columns, values } = picture;
    canvas.current.width = columns;
    canvas.current.height = bands;
    const image = context.createImageData(columns, bands);
    colourColumns(values, bands, rangeOf(values) ?? { low: 0, high: 1 }, colourTable(isDark), image.data);
    context.putImageData(image, 0, 0);
  }, [picture, isDark]);
  return (
    <canvas ref={canvas} role="img" aria-label={label} data-state={picture === null ? 'waiting' : 'drawn'} />
  );
}

async function loadClip(address: string): Promise<{ seconds: number; picture: ClipSpectrogram }> {
  const reply = await fetch(address, { cache: 'no-store' });
  if (!reply.ok) throw new RequestError('unreachable', `HTTP ${reply.status}`);
  const bytes = await reply.arrayBuffer();
  // Of this context nothing is ever played: it only knows how to read sound files.
  const sound = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
  return { seconds: sound.duration, picture: clipSpectrogram(sound.getChannelData(0), sound.sampleRate) };
}
