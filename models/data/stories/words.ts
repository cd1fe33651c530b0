/** The words of the stories. Every list is drawn from evenly. */

const list = (text: string) => text.split('|')

const boys = list(
  'Tom|Ben|Max|Sam|Leo|Finn|Oscar|Jack|Pip|Theo|Hugo|Milo|Adam|Carl|Emil|Felix|George|Henry|Ned|Paul|Ralph|Toby|Victor|Will',
)
const girls = list(
  'Lily|Mia|Anna|Rosie|Ella|Daisy|Nora|Ruby|Zoe|Clara|Molly|Ivy|Alice|Bella|Dora|Eva|Fay|Grace|Hazel|Julia|Kate|Lucy|Polly|Wendy',
)

/** Names and the pronoun that goes with each. */
export const names: readonly (readonly [name: string, pronoun: 'he' | 'she'])[] = [
  ...boys.map((name) => [name, 'he'] as const),
  ...girls.map((name) => [name, 'she'] as const),
]

/** Kinds of heroes, each with its plural. */
export const kinds: readonly (readonly [one: string, many: string])[] = [
  ['rabbit', 'rabbits'],
  ['fox', 'foxes'],
  ['bear', 'bears'],
  ['mouse', 'mice'],
  ['duck', 'ducks'],
  ['cat', 'cats'],
  ['dog', 'dogs'],
  ['frog', 'frogs'],
  ['squirrel', 'squirrels'],
  ['hedgehog', 'hedgehogs'],
  ['owl', 'owls'],
  ['beaver', 'beavers'],
  ['badger', 'badgers'],
  ['lamb', 'lambs'],
  ['kitten', 'kittens'],
  ['puppy', 'puppies'],
  ['otter', 'otters'],
  ['pony', 'ponies'],
  ['goose', 'geese'],
  ['mole', 'moles'],
]

const colour = list('red|blue|green|yellow|white|purple|orange|golden|silver|brown|pink|grey|black')
const shape = list('round|big|old|shiny|soft|wooden|broken|heavy|lovely|new|tiny|long|clean|strange|funny')
const toy = list(
  'kite|ball|boat|drum|bucket|hat|scarf|bell|lantern|whistle|basket|cart|button|book|spoon|key|ribbon|marble|mirror|umbrella|top|flute',
)

/** Lists that a template draws from afresh each time it names them. */
export const words = {
  colour,
  shape,
  toy,
  /** A toy told apart by a colour or by a shape. */
  thing: [...colour, ...shape].flatMap((adjective) => toy.map((noun) => `${adjective} ${noun}`)),
  kind: kinds.map(([one]) => one),
  kinds: kinds.map(([, many]) => many),
  character: list('kind|brave|curious|shy|clever|cheerful|gentle|quiet|proud|playful|busy|stubborn|dreamy|polite'),
  size: list('little|small|tiny|young'),
  food: list(
    'apple pie|warm bread|honey cake|carrot soup|blueberry jam|cheese|plum cake|pancakes|nut bread|pea soup|hot milk|rice pudding|corn bread',
  ),
  fruit: list('apples|pears|plums|cherries|nuts|berries|peaches|figs|grapes|melons'),
  flower: list('roses|tulips|daisies|poppies|sunflowers|lilies|bluebells|violets'),
  place: list(
    'the river|the old oak tree|the hill|the pond|the forest|the meadow|the garden|the bridge|the mill|the beach|the market|the barn|the well|the lake|the tower|the stone wall',
  ),
  hiding: list(
    'under a bush|behind a big stone|in the tall grass|under the bed|in a hollow log|behind the door|on the roof|inside an old boot|under a pile of leaves|between two trees',
  ),
  weather: list('sunny|rainy|windy|cold|warm|foggy|snowy|bright'),
  time: list('morning|afternoon|evening|day'),
  season: list('spring|summer|autumn|winter'),
  glad: list('happy|glad|proud|cheerful|delighted|thankful'),
  sad: list('sad|worried|unhappy|lonely|upset|sorry'),
  slowly: list('slowly|carefully|quietly|gently|quickly|softly'),
  cried: list('said|called|shouted|cried'),
  elder: list('mother|father|grandmother|grandfather|aunt|uncle'),
  number: list('two|three|four|five|six|seven|eight|nine|ten'),
  game: list('hide and seek|tag|catch|chess|pirates|hopscotch'),
  sound: list('a loud crash|a soft cry|a strange noise|a little song|a splash|a knock'),
  wild: list('bird|bee|butterfly|snail|deer|crow|beetle|fish|swan|ladybird|spider|moth|sparrow|goat|turtle|worm'),
  smell: list('hay|wet leaves|smoke|mint|fresh bread|mud|pine trees|soap|the sea|cinnamon|rain|lavender'),
  adverb: list('far away|close by|all day long|without a sound|up and down|here and there|round and round|once more'),
}

export type WordList = keyof typeof words
