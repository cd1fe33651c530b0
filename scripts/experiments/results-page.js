/** docs/results.md, from what the experiments gave. */
import { markdown } from './table.js'

const HEAD = `# Results

What the papers report, and what this code gives at a size that a laptop can do: **directions, not sizes**. The models here have 0.03 to 0.2 million parameters and the papers' 124 million and more, so a table is a
check of the mechanism and no measurement of the method at scale. Where a claim does not come out, it says so.

\`node scripts/experiments/run.js\` measures what is missing in \`docs/results/\`, draws the plots and writes this page; \`--fresh\` measures everything again (after \`npm run build\`), names choose experiments, \`--reduced\`
is the form that the tests run. Results are kept as JSON with everything that was varied. Losses do not depend on the machine's load, and hardly on the machine: the native engine's last bits may differ, and with them a trained
model by as much as another seed's. *Asserted* claims must hold, or the command fails; of the others it is said whether they do.`

const verdict = ({ holds, asserted }) =>
  holds ? (asserted ? 'yes, asserted' : 'yes') : asserted ? '**NO, asserted**' : '**no**'

/**
 * The page. `entries`: one for each experiment that has results, { experiment, runs, report, minutes, timed, jobs, missing }.
 * @param folder where the plots are, as seen from the page
 */
export function resultsPage(entries, folder) {
  const claims = entries.flatMap(({ experiment, report }) => report.claims.map((claim) => ({ experiment, ...claim })))
  const failed = claims.filter(({ holds }) => !holds)
  const summary = [
    '## What did not reproduce',
    '',
    `Of ${claims.length} claims, ${claims.length - failed.length} hold here. These do not:`,
    '',
    ...failed.map(
      ({ experiment, claim, ours }) =>
        `- [${experiment.title}](#${anchor(experiment.title)}): ${claim}${ours === undefined ? '' : `. Here: ${ours}`}.`,
    ),
    ...(failed.length === 0 ? ['- None.'] : []),
  ]
  const cost = [
    '## What it takes',
    '',
    `Minutes of one processor, while others kept it busy; on two cores it is half of that. Of jobs that were measured before this command was there only the results are kept.`,
    '',
    markdown(
      ['experiment', 'name', 'minutes', 'jobs timed'],
      entries.map(({ experiment: { title, name }, minutes, timed, jobs }) => [
        title,
        `\`${name}\``,
        minutes.toFixed(1),
        `${timed} of ${jobs}`,
      ]),
    ),
  ]
  return `${[HEAD, summary.join('\n'), ...entries.map((entry) => section(entry, folder)), cost.join('\n')].join('\n\n')}\n`
}

function section({ experiment, runs, report, missing }, folder) {
  const { name, title, paper, setting } = experiment
  const seeds = [...new Set(runs.map(({ job }) => job.seed))].sort((a, b) => a - b)
  const images = Object.keys(report.plots).map((ending) => `![${title}](${folder}/${name}${ending}.svg)`)
  return [
    `## ${title}`,
    `**Paper.** ${paper}`,
    `**Here.** ${setting} Seeds ${seeds.join(', ')}. \`node scripts/experiments/run.js ${name}\``,
    ...(missing > 0 ? [`*${missing} jobs of further seeds are still to be run.*`] : []),
    report.text,
    ...images,
    markdown(
      ['claim', 'here', 'holds'],
      report.claims.map((claim) => [claim.claim, claim.ours ?? '', verdict(claim)]),
    ),
  ].join('\n\n')
}

/** What a heading's link is called on the pages that show Markdown. */
const anchor = (title) =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N} -]/gu, '')
    .replaceAll(' ', '-')
