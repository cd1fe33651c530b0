/**
 * The grammar of the stories. A plot is a list of beats; each is expanded and the results are joined by blanks. `(a|b)` draws one of its
 * alternatives, an empty one leaves the beat out. `{name}` is a fact of the story (see facts in generate.ts) or else a fresh draw from the
 * list of that name in words.ts; `{a name}` puts the right article before it; `{scenery}` stands for nought to two sentences of {@link scenery}.
 */

/** How a story begins. */
export const openings = [
  'Once upon a time, there was a {size} {heroKind} named {hero}. {He} was very {character}(, but also a bit {character}|).',
  '{hero} was a {character} {heroKind} who lived near {place}. (Every {time}, {he} liked to (sing|read|dance|play {game}|pick {flower}|eat {food}).|)',
  'In a (small|tiny|little) house by {place}, there lived a {character} {heroKind}. {His} name was {hero}.',
  'One {weather} {time}, a {size} {heroKind} called {hero} woke up early. {He} felt {glad}.',
  'Long ago, when the {season} was {weather}, {a heroKind} named {hero} lived with {his} {elder} near {place}.',
]

/** How a story ends, after its moral. */
export const endings = [
  '',
  'And from that day on, {hero} and {friend} were the best of friends.',
  'That night, {hero} slept very well.',
  'They all had {food} and laughed until it was dark.',
  'The end.',
]

/** What can be seen, heard or smelled meanwhile; sentences full of words that nothing before gives away. */
export const scenery = [
  '{A colour} {wild} (flew|crept|hurried) over the {flower} and then (sat|slept|waited) on {a shape} {toy}.',
  '{A shape} {wild} and {a colour} {wild} played {game} (near|behind|in front of) {place}.',
  'It smelled of {smell} and {smell}.',
  'Somebody had left {a thing} and {a thing} {hiding}.',
  'The {season} wind blew {adverb} and smelled of {smell}.',
  '{A wild} sang {adverb}, and {a wild} hummed {slowly}.',
  'In {his} pocket {he} had {a thing}, {number} {fruit} and {a colour} stone.',
  '{hero} thought of {his} {elder}, who made {food} every {season} and liked {fruit} more than {food}.',
  'The sky over {place} was {colour} and {colour}, and {number} {kinds} walked {adverb}.',
  'An old {kind} sold {fruit}, {flower} and {a thing} for {number} coins.',
  'From {place} came {sound}, and {number} {kinds} ran {adverb}.',
  'There were {flower}, {flower} and {a shape} {wild} (on|under|next to) {a shape} {toy}.',
  'An old {kind} wore {a colour} coat with {number} {colour} buttons and carried {a shape} {toy}.',
  'A {weather} {time} is good for {fruit}, for {flower} and for {food}.',
]

export const plots: readonly (readonly string[])[] = [
  // Something is lost and found with the help of a friend.
  [
    '(One {weather} {time}|The next day|On a {weather} {time} in {season}), {hero} (could not find|lost) {his} {thing}.',
    '{scenery}',
    '{He} looked {hiding}. {He} looked {hiding}. (But it was not there.|It was not there.|There was only {a toy}.)',
    '(Then {he} sat down and cried.|{hero} felt very {sad}.|"Oh no," said {hero}. "I am so {sad}.")',
    '{scenery}',
    '{friend} the {friendKind} came (by|along|running from {place}). "(Why are you|What makes you) so {sad}?" asked {friend}.',
    '"I (lost|cannot find) my {thing}," said {hero}. "(Can you help me|Will you help me look for it|Have you seen it)?"',
    '"(Of course|Yes|Do not worry)," said {friend}. "Let us look (together|near {place}|one more time)."',
    '{scenery}',
    '(They walked to {place}.|They went past {place} and looked {hiding}.|They looked for {number} hours.)',
    '(At last|Suddenly|Then), {friend} saw something (small|odd|bright) {hiding}. It was the {thing}!',
    '"(Thank you|Thank you so much), {friend}!" said {hero}(. {He} gave {fhim} a big hug.| and smiled.| and danced with {fhim}.)',
    '(A friend can find what you cannot find alone.|{hero} learned that it is good to ask for help.|It is easier to look with two than with one.)',
  ],
  // Sharing food.
  [
    '(One {weather} {time}|One {time} in {season}), {hero} had {a shape} basket (full of|with {number}) {fruit}. {He} wanted to (eat them all alone|keep them all|hide them {hiding}).',
    '{scenery}',
    '(On the way home|Near {place}|At {place}), {he} met {friend} the {friendKind}. {friend} looked {sad}.',
    '"(I am so hungry|I have not eaten all day|I have no food)," said {friend}. "(May I have one|Can you share them|Will you give me some)?"',
    '{scenery}',
    '"No," said {hero}. "(They are all mine|I found them|I want them for myself)." And {he} walked away {slowly}.',
    '(Soon|After a while|Later that {time}), the basket was too heavy. {hero} (fell down|tripped over {a toy}|slipped near {place}), and all the {fruit} rolled into the water.',
    '{hero} began to cry. (Then {he} heard {sound}.|) It was {friend}, who (pulled|fished|picked) the {fruit} out of the water, one by one.',
    '{scenery}',
    '"Why do you help me?" asked {hero}. "(Because we can be friends|Because you are {sad}|Because it is fun to help)," said {friend}.',
    '{hero} was {sad} (about what {he} had said|because {he} had been mean). "(I am sorry|Please forgive me)," {he} said. "(Let us share|You can have half of them|Take as many as you like)."',
    '(They sat down by {place} and ate.|They ate {fruit} until the sun went down.|They made {food} and ate it together.)',
    '(Sharing makes everything taste better.|{hero} learned that sharing makes two people {glad}.|From then on, {he} always shared.)',
  ],
  // Telling the truth.
  [
    'One {time}, {hero} played {game} in the house(, although {his} {elder} had told {him} not to|). (Bump!|Crash!|Oh no!) {He} broke the {cup}.',
    '{scenery}',
    '{hero} was {sad}. "(Nobody must know|What shall I do|I will be in trouble)," {he} thought, and {he} hid the pieces {hiding}.',
    '{His} {elder} came home(| from {place}). "(Where is my cup|Have you seen my {cup}|Who took my cup)?"',
    '{scenery}',
    '"(I do not know|Maybe the wind took it|{friend} the {friendKind} did it)," said {hero}. But {his} (face turned red|heart felt heavy|voice was very small).',
    'That night {hero} could not sleep. {He} (turned around {number} times|looked at the moon|listened to the rain) and thought about the cup.',
    'In the morning {he} met {friend} the {friendKind} and told {fhim} all. "(A lie only grows|Say what is true|You will feel better if you say it)," said {friend}.',
    'So {hero} went to {his} {elder}. "(I must tell you something|I told a lie)," {he} said. "I broke the cup. I am so sorry."',
    '{scenery}',
    '(There was a long silence.|{His} {elder} looked at {him}.|For a moment it was very quiet.) "(Thank you for telling me|I am {glad} that you told me|It was brave to say so)."',
    '(They glued the cup together {slowly}.|They went to the market and bought {a colour} cup.|They made a new cup out of clay.)',
    '(Telling the truth makes a heavy heart light.|{hero} learned that a lie is heavier than a broken cup.|{hero} never told a lie again.)',
  ],
  // A storm and a shelter.
  [
    'One {time} in {season}, {hero} wanted to (visit an old friend|pick {flower}|catch fish|try {his} {thing}) by {place}. "(Take a coat|Be careful|Come back soon)," said {his} {elder}.',
    '{scenery}',
    'But on the way, the sky turned dark. (The wind began to blow.|There was {sound}.|Big drops began to fall.) It was a storm!',
    '{hero} was afraid. {He} ran (as fast as {he} could|past {place}|over the bridge) and looked for a place to hide.',
    '{scenery}',
    '(Then|Suddenly|At last) {he} saw a (small|tiny|little) light. It was the house of {friend} the {friendKind}.',
    '(Knock, knock!|{hero} knocked {slowly}.|{He} knocked on the door {number} times.) "(Who is there|Who knocks so late|What is that)?" {cried} {friend}.',
    '"It is me, {hero}! (Please let me in|I am cold and wet|Please open the door)!" {friend} opened the door at once.',
    '{scenery}',
    '(Inside it was warm.|There was a fire, and it was warm.|{friend} gave {him} a dry {colour} blanket.) They ate {food} and (told stories|played {game}|sang songs) while the storm roared.',
    'In the morning, the (sun came out|rain stopped|sky was blue again). "(Come back any time|Now you know where I live|I was {glad} to have you here)," said {friend}.',
    '(A warm house is even warmer with a friend in it.|{hero} learned that a kind neighbour is better than a thick coat.|After that, {hero} was not afraid of storms.)',
  ],
  // A garden and patience.
  [
    '(In {season}|One {weather} {time}), {hero} found a (small|tiny|little) seed {hiding}. {He} put it into the ground near {place} and gave it water.',
    '{scenery}',
    '{He} waited all day. (Nothing happened.|But nothing came up.|The ground was still brown.) "(Grow|Please grow|Hurry up), little seed!" {cried} {hero}.',
    'The next day {he} (sang for it|danced around it|read {a shape} book to it). (Still nothing happened.|The seed did not mind.)',
    '{scenery}',
    '{friend} the {friendKind} (laughed|watched {him}|passed by with {a thing}). "What are you doing, {hero}?" "(I am waiting for my seed|My seed does not grow|I want to have {flower})," said {hero}.',
    '"(Seeds need time|You must be patient|Good things are slow)," said {friend}. "(Give it water and sun|Let us play {game} and wait|Look after it and leave it alone)."',
    'So {hero} waited. {He} gave it water every {time}. (The rain came, and the sun came.|A few days passed.|It was a {weather} week.)',
    '{scenery}',
    'And then, one {weather} morning, there was a (small|tiny|little) green leaf! (Soon there were {flower}, {colour} and {colour}.|{hero} jumped with joy.|"{friend}, come and look!" shouted {hero}.)',
    '(The garden was full of {flower}.|They gave the {flower} to {his} {elder}.|Everybody came to see the {flower}.)',
    '(Good things take time.|{hero} learned to be patient.|Who can wait will see the flowers.)',
  ],
  // A race.
  [
    'Near {place2} lived {friend} the {friendKind}, who was very fast and very proud. "(Nobody can beat me|I am the fastest of all|You are so slow, {hero})," {fhe} said every {time}.',
    '{scenery}',
    '"(Let us have a race|I will race you)," said {hero}. "From {place} to {place2}." {friend} laughed. "(You will lose|That will be easy|All right), little {heroKind}."',
    'All the animals came to watch. (The owl counted to {number}.|"One, two, three, go!" {cried} the owl.|An old {kind} waved {a colour} flag.)',
    '{scenery}',
    '{friend} ran away like the wind. {hero} ran {slowly}, step by step. {He} did not stop(| to look at the {flower}| to eat {fruit}).',
    'Halfway, {friend} was (tired|hungry|bored). "{hero} is far behind," {fhe} thought. "(I can sleep a little|I can eat some {fruit}|I can play with my {thing})."',
    '(But|Meanwhile,) {hero} walked on and on, past {friend} and up to {place2}. When {friend} (woke up|looked up|heard {sound}), it was too late.',
    '{scenery}',
    '"{hero} has won!" {cried} all the animals. {friend} was {sad}, but {fhe} (shook {his} hand|said "Well done" and smiled|said that it was a good race).',
    '(Slow and steady wins the race.|It is not good to laugh at others.|{hero} learned that you must not give up.)',
  ],
  // Being brave.
  [
    '{hero} was afraid of (the dark|the deep water|the big wind|loud noises). When {his} friends played {game} by {place}, {he} stayed at home.',
    '{scenery}',
    'One {weather} {time}, {he} heard {sound} from {place}. "Help! (Help me|I am stuck|I cannot get out)!" It was {friend} the {friendKind}.',
    '{hero} looked around. (Nobody else was there.|There was no one else.|All the others were far away.) {His} knees were shaking.',
    '{scenery}',
    '"(I am too small|I am afraid|I cannot do it)," thought {hero}. "But {friend} needs me." So {he} took {a thing} and went {slowly} to {place}.',
    '"(Hold on|Do not be afraid|I am coming), {friend}!" {cried} {hero}. {He} reached out as far as {he} could, and pulled, and pulled.',
    '(Pop!|At last,|With a big jump,) {friend} was free. "You saved me!" said {friend}. "(You are so brave|How did you do that|Were you not afraid)?"',
    '{scenery}',
    '"I was (very|a little) afraid," said {hero}, "but (I came anyway|you are my friend|I thought of you)."',
    '(To be brave is to be afraid and to go anyway.|{hero} learned that even the smallest {heroKind} can be brave.|After that, {hero} was the bravest {heroKind} of all.)',
  ],
  // Someone new.
  [
    '(One {weather} {time}|In {season}|One {time}), a new {friendKind} came to live near {place}. {fHis} name was {friend}, and {fhe} had {a thing} that nobody there had seen before.',
    '{scenery}',
    '"(I do not like {friendKinds}|{fHe} looks strange|We do not need anyone new)," said the others. So {friend} sat alone (by {place}|every {time}|and ate {food}).',
    '{hero} watched {fhim} from {hiding2}. {friend} looked {sad}. (That made {hero} {sad} too.|{hero} remembered how it is to be alone.)',
    '{scenery}',
    '{hero} walked up to {fhim} {slowly}. "(Hello|Good {time}), I am {hero}. (Do you want to play {game}|What is your name|May I see your {toy})?"',
    '"(Yes, please|Oh yes|I would love to)," said {friend}. "My name is {friend}. (I come from far away|Nobody talked to me before|I was so {sad})."',
    'They played {game} by {place} (all day|until {his} {elder} called|for {number} hours). {friend} knew (a funny song|many stories|a new game), and {hero} laughed and laughed.',
    '{scenery}',
    'Soon the others came too. "(May we play with you|What is so funny|Can we see it)?" they asked. "(Of course|Yes, come|The more the better)," said {friend}.',
    '(Someone strange may be a friend you do not know yet.|{hero} learned that one kind word can change a day.|And nobody was alone any more.)',
  ],
  // Building something together.
  [
    '(One {weather} {time}|That {season}), {hero} wanted to build a (boat|tree house|bridge|snowman|castle). {He} worked by {place} all by {him}self(, {time} after {time}|).',
    '{scenery}',
    '{friend} the {friendKind} came by. "(May I help|What are you building|Is that not hard)?" "No," said {hero}. "(I can do it alone|You will only break it|This is mine)."',
    'But the (wood|work) was heavy. (Bump!|Crash!|Oh dear!) Everything fell down. {hero} was (so tired|angry|{sad}) and kicked {a toy}.',
    '{scenery}',
    '{friend} had seen it all. "(Two can carry more than one|I am strong and you are clever|Let us try it together)," {fhe} said {slowly}.',
    '{hero} thought about it. "(All right|You are right|Please help me)," {he} said. {friend} held the wood, and {hero} tied it with {a colour} rope.',
    'They worked for {number} days. They (painted it {colour}|put {flower} all around it|hung {a thing} on top). (How beautiful it was!|It was better than {hero} had dreamed.)',
    '{scenery}',
    '"We did it!" they shouted. (They ate {food} and were very {glad}.|All their friends came to see it.|{His} {elder} was very proud.)',
    '(Many hands make light work.|Together we can do what one cannot do alone.|{hero} learned that work is more fun with a friend.)',
  ],
  // Bedtime.
  [
    '(One evening|One night in {season}|That {weather} evening) it was late, but {hero} did not want to go to bed. "(I am not tired|One more story|Only {number} more minutes)," {he} said.',
    '{scenery}',
    '"(The moon is up already|All the other {heroKinds} sleep|Tomorrow is a new day)," said {his} {elder}. But {hero} took {his} {thing} and (went out|ran to {place}|hid {hiding}).',
    'Outside it was dark and (cold|quiet|windy|still). {hero} saw {friend} the {friendKind}, who was (fast asleep|on the way to bed|counting stars).',
    '{scenery}',
    '"(Wake up|Let us play {game}|Play with me), {friend}!" {cried} {hero}. "(I am too tired|It is night|Go to bed, {hero})," said {friend}, and yawned.',
    '{hero} played alone. (It was no fun.|The night was very quiet.|{He} heard {sound} and was afraid.) Then {his} eyes became heavy.',
    '{His} {elder} found {him} asleep {hiding}, carried {him} home {slowly}, and put {a colour} blanket over {him}.',
    '{scenery}',
    'In the morning {hero} was full of joy. "(Sleep is nice|I dreamed of {place}|I flew over {place} in my dream)," {he} said, and {he} ate {food}.',
    '(After the night comes a new day to play.|{hero} learned that even {heroKinds} need sleep.|From then on, {hero} went to bed on time.)',
  ],
]
