"""Everything that the demo model can answer, in several wordings, with its answers: data only.

Wordings are separated by bars with spaces around them; `(a|b|)` within a wording means a, b or nothing. Some wordings
are held out of the training, so that the evaluation can use them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class Topic:
    """One subject with its answer, which is empty if the model is to repeat its previous answer."""

    name: str
    answer: str
    wordings: tuple[tuple[str, ...], ...]  # each in all its forms
    held_out: tuple[str, ...]  # wordings for the evaluation only

    @property
    def forms(self) -> tuple[str, ...]:
        """All forms of all wordings."""
        return tuple(form for forms in self.wordings for form in forms)


def _topic(name: str, answer: str, wordings: str, held_out: str) -> Topic:
    kept = tuple(held_out.split(" | "))
    forms = (_forms(wording) for wording in wordings.split(" | "))
    return Topic(name, answer, tuple(tuple(form for form in found if form not in kept) for found in forms), kept)


def _forms(wording: str) -> list[str]:
    parts = [part.split("|") for part in re.split(r"[()]", wording)]
    return [" ".join(" ".join(chosen).split()) for chosen in product(*parts)]


# fmt: off
TOPICS: tuple[Topic, ...] = (
    _topic("hello", "Hello! It is good to hear you.",
           "hello | hi | hello there | good day | hi there | hello parley | hello hello | good day to you | "
           "(hello|hi|hey) (again|everybody|my friend|you) | (hey|hey parley|hey hello) | "
           "(nice|good) to (see|hear) you | greetings",
           "hey there | hi parley"),
    _topic("good morning", "Good morning! Did you sleep well?",
           "good morning | good morning to you | a very good morning | good morning parley | morning | "
           "(good morning|morning) (everybody|my friend|to everyone) | (hi|hey) good morning | good morning how nice",
           "good morning there | hello good morning"),
    _topic("good evening", "Good evening! I hope your day was kind.",
           "good evening | good evening to you | a very good evening | good evening parley | evening | "
           "(good evening|evening) (everybody|my friend|to everyone) | (hi|hey) good evening | good evening how nice",
           "good evening there | hello good evening"),
    _topic("good night", "Good night! Sleep well.",
           "good night | good night to you | i am going to bed | good night parley | i am off to bed | "
           "(good night|night) (everybody|my friend|parley) | "
           "(i want|i am going|it is time) to (sleep|go to sleep|go to bed) | i go to sleep (now|) | "
           "i am (tired|sleepy)",
           "good night then | i go to bed now"),
    _topic("how are you", "I am fine, thank you. And you?",
           "how are you | how are you doing | how are things | how is it going | are you well | how do you do | "
           "how are you feeling | (hello|hi|hey) how are you | how are you (doing|feeling|getting on) (now|) | "
           "how (have you been|is life|is everything) | how was your day | "
           "are you (okay|fine|all right|happy|feeling well) | what about you how are you",
           "how are you today | how do you feel"),
    _topic("i am fine", "I am glad to hear that.",
           "i am fine | i am fine thank you | i am doing well | i feel good | i am great | very well thank you | "
           "i am happy | i am (good|okay|all right|very happy|very good|doing fine|feeling good|feeling fine) | "
           "(fine|very well|very good) thank you | i feel (fine|well|very good|happy) | i am fine thanks | "
           "i had a good day",
           "i am very well | i feel great"),
    _topic("i am sad", "I am sorry. I hope it gets better soon.",
           "i am sad | i feel bad | i am not well | i feel very sad | i am not happy | i had a bad day | "
           "i feel lonely | i am (so|very) (sad|unhappy|tired of everything) | "
           "i feel (sad|terrible|very bad|lonely|so bad) | (i had|it was) a bad day | "
           "i am (feeling|) (ill|sick|not well|unhappy) | i am not (happy|good|fine)",
           "i feel sad today | i am very sad"),
    _topic("your name", "My name is Parley.",
           "what is your name | who are you | what are you called | tell me your name | do you have a name | "
           "what's your name | may i know your name | "
           "(tell me|say|what was|may i know|i want to know) your (first|) name | "
           "(what|how) (should|can|do|may) i call you | (do you|you) have a name | "
           "(and|) who am i (talking|speaking) to | what is your (full|real|first) name",
           "what is your name please | say your name"),
    _topic("my name", "Nice to meet you!",
           "my name is anna | my name is peter | i am called john | call me mary | my name is robert | "
           "my name is susan | you can call me tom | my name is david | my name is laura | nice to meet you | "
           "my name is (john|mary|peter|paul|lisa|tom) | i am called (john|mary|peter|tom) | "
           "(you can|please) call me (john|mary|peter|lisa)",
           "my name is martin | my name is julia"),
    _topic("what are you", "I am a small speech model.",
           "what are you | what kind of thing are you | what exactly are you | are you a model | "
           "tell me what you are | what sort of model are you | what (exactly|) are you (really|) | "
           "what (sort|kind) of (thing|program|machine) are you | "
           "are you (a|an) (model|program|speech model|computer program) | tell me what you are | explain what you are",
           "so what are you | what kind of model are you"),
    _topic("who made you", "I was trained with code that you can read.",
           "who made you | who built you | how were you made | where do you come from | who trained you | "
           "how were you trained | (tell me|do you know) who (made|trained|built) you | "
           "(who|what company) (has|) (made|trained|developed|programmed|wrote) you | "
           "how (did they|do they) (make|train|build) you | where were you (made|trained|built) | "
           "who is your (maker|father|inventor)",
           "who created you | how were you built"),
    _topic("how old", "I am only a few hours old.",
           "how old are you | what is your age | when were you born | tell me your age | are you old | "
           "are you young | (tell me|say) how old you are | what is your (birthday|birth date|real age) | "
           "when is your birthday | how (young|long) are you | how many years (old|) are you | since when do you exist",
           "how old are you now | what age are you"),
    _topic("where do you live", "I live inside your computer.",
           "where do you live | where are you | where is your home | where are you now | what is your address | "
           "where do you sleep | where (is|was) your (house|place) | "
           "(in which|which) (city|country|place) do you live (in|) | where do you (stay|live now|come home) | "
           "do you live (here|in a house) | tell me where you are | where can i find you",
           "tell me where you live | where exactly do you live"),
    _topic("robot", "No person here, just a machine that talks.",
           "are you a robot | are you human | are you a real person | are you a machine | am i talking to a person | "
           "are you alive | are you (really|) a (robot|machine|computer|human|real human) | "
           "are you (real|living|a real one) | is this a (person|robot|machine|human|computer) | "
           "am i (talking|speaking) to a (machine|robot|human|computer) | do you have a body",
           "are you a human being | are you a person"),
    _topic("what can you do", "I can tell jokes, count, and chat a little.",
           "what can you do | what do you know | what can i ask you | what can i say | help | help me | "
           "what can you talk about | what (are you able to do|things can you do|else can you do) | "
           "(show|tell) me what you can do | what (are|is) your (skills|talents|abilities) | "
           "what (can|could|may|should) i (ask|say|tell) (you|) | what can we (do|talk about) | "
           "(i need|give me|please) (some|) help | how can you help me",
           "can you help me | what can you tell me"),
    _topic("smart", "Not very. I know a few dozen phrases.",
           "are you smart | are you clever | are you intelligent | how smart are you | do you know a lot | "
           "how clever are you | are you (a|) (smart|clever|intelligent|wise) (machine|one|) | "
           "do you know (everything|many things|much) | how (intelligent|good) are you | how much do you know | "
           "are you a genius",
           "are you very smart | are you really intelligent"),
    _topic("can you hear me", "Yes, I can hear you well.",
           "can you hear me | do you hear me | are you there | are you listening | is this working | anybody there | "
           "testing one two | (can|do|could) you (still|) hear (me|my voice) (well|) | "
           "(hello|hey) (are you there|can you hear me) | is (anybody|anyone|somebody) (there|listening) | "
           "are you still (listening|with me) | (is|does) (my|the) microphone (work|working|on) | test test",
           "can you hear me now | are you still there"),
    _topic("music", "I like quiet piano music.",
           "do you like music | what music do you like | what is your favorite music | what do you listen to | "
           "tell me about music | what (kind|sort) of music do you like | "
           "do you (like|love) (music|songs|jazz|rock music) | "
           "(tell me|what is) your favorite (song|kind of music|band) | do you listen to music | "
           "which (songs|bands) do you like | what music do you (hear|love|prefer)",
           "do you enjoy music | which music do you like"),
    _topic("food", "I do not eat, but bread sounds nice.",
           "what do you eat | what is your favorite food | are you hungry | do you like food | "
           "what food do you like | do you eat | what (would you|do you) (like|want|love) to eat | "
           "(what is|tell me) your favorite (food|dish|meal) | "
           "do you (like|eat|want) (pizza|bread|apples|something to eat) | are you (very|) hungry (now|) | "
           "what did you eat (today|) | do you need food | can you eat",
           "which food do you like | what do you like to eat"),
    _topic("animal", "My favorite animal is the owl.",
           "what is your favorite animal | do you like animals | which animal do you like | tell me about animals | "
           "what animal do you like best | (tell me|which is|say) your favorite animal | "
           "what (is the|) animal do you (love|prefer) | (which|what) animals do you (like|love) | "
           "do you (like|love) (cats|dogs|birds|owls) | do you have a (pet|dog|cat) | which animal is your favorite",
           "what animal do you like | your favorite animal"),
    _topic("books", "I like books about the sea.",
           "what is your favorite book | do you like books | do you read books | which book do you like | "
           "what do you read | do you like reading | (tell me|which is|say) your favorite book | "
           "what (book|story book) do you (like|love) | which books do you (like|read|love) | "
           "do you (like|love) (to read|books|stories) | can you read | what are you reading | have you read a book",
           "what books do you like | do you read"),
    _topic("favorite color", "My favorite color is blue.",
           "what is your favorite color | what color do you like | which color do you like best | "
           "tell me your favorite color | do you have a favorite color | (tell me|say|which is) your favorite color | "
           "(what|which) color do you (like|love|prefer) (most|best|) | "
           "what (is|would be) your (best|dearest) color | do you like (blue|red|green) | which color is your favorite",
           "what is the color you like | your favorite color"),
    _topic("sky", "On a clear day the sky is blue.",
           "what color is the sky | which color is the sky | what is the color of the sky | "
           "tell me the color of the sky | how does the sky look | "
           "(what|which) color (is|has) the (blue|clear|) sky (today|) | (is|why is) the sky (blue|red|green) | "
           "(tell me|say) (what|which) color the sky is | what does the sky look like | "
           "do you know the color of the sky",
           "the color of the sky | what color does the sky have"),
    _topic("grass", "Grass is green.",
           "what color is grass | what color is the grass | which color is grass | what is the color of grass | "
           "tell me the color of grass | (what|which) color (is|has) (the|) grass | "
           "(is|why is) (the|) grass (green|blue|red) | (tell me|say) (what|which) color (the|) grass is | "
           "what does (the|) grass look like | do you know the color of (the|) grass",
           "the color of grass | what color does grass have"),
    _topic("snow", "Snow is white.",
           "what color is snow | what color is the snow | which color is snow | what is the color of snow | "
           "tell me the color of snow | (what|which) color (is|has) (the|) snow | "
           "(is|why is) (the|) snow (white|blue|black) | (tell me|say) (what|which) color (the|) snow is | "
           "what does (the|) snow look like | do you know the color of (the|) snow",
           "the color of snow | what color does snow have"),
    _topic("sun", "The sun looks yellow to us.",
           "what color is the sun | which color is the sun | what is the color of the sun | "
           "tell me the color of the sun | how does the sun look | (what|which) color (is|has) the sun | "
           "(is|why is) the sun (yellow|red|white) | (tell me|say) (what|which) color the sun is | "
           "what does the sun look like | do you know the color of the sun",
           "the color of the sun | what color does the sun have"),
    _topic("colors", "Red, orange, yellow, green, blue and purple.",
           "name some colors | what colors are there | tell me some colors | which colors do you know | "
           "list the colors | what colors do you know | "
           "(tell me|name|list|say) (some|a few|all|all the|many|the) colors | "
           "(what|which) colors (do you know|are there|can you name) | "
           "(can|could) you (name|list|say) (some|a few|the) colors | i want to hear (some|the) colors",
           "say some colors | give me some colors"),
    _topic("three", "One, two, three.",
           "count to three | count up to three | can you count to three | please count to three | "
           "count from one to three | could you count to three | "
           "(can|could|will|would) you (please|) count (up|) to three | "
           "(please|) count (up|) to (number|) three (please|) | count (from|) (one|zero) to three | "
           "i want you to count to three | let us count to three",
           "count to three for me | now count to three"),
    _topic("five", "One, two, three, four, five.",
           "count to five | count up to five | can you count to five | please count to five | "
           "count from one to five | could you count to five | "
           "(can|could|will|would) you (please|) count (up|) to five | "
           "(please|) count (up|) to (number|) five (please|) | count (from|) (one|zero) to five | "
           "i want you to count to five | let us count to five",
           "count to five for me | now count to five"),
    _topic("ten", "One, two, three, four, five, six, seven, eight, nine, ten.",
           "count to ten | count up to ten | can you count to ten | please count to ten | count from one to ten | "
           "could you count to ten | (can|could|will|would) you (please|) count (up|) to ten | "
           "(please|) count (up|) to (number|) ten (please|) | count (from|) (one|zero) to ten | "
           "i want you to count to ten | let us count to ten",
           "count to ten for me | now count to ten"),
    _topic("count down", "Three, two, one, go!",
           "count down | count backwards | can you count backwards | do a countdown | start the countdown | "
           "count down from three | (can|could|will|would) you (please|) count (down|backwards) | "
           "(do|make|start|begin) (a|the) countdown (please|) | (please|) count (down|backwards) (from|) three | "
           "i want a countdown | three two one",
           "give me a countdown | please count down"),
    _topic("two plus two", "Two plus two is four.",
           "what is two plus two | two plus two | how much is two plus two | add two and two | what is two and two | "
           "(what is|how much is|tell me|what makes|say) two (plus|and) two | (can|could) you (add|sum) two and two | "
           "(please|) add two (and|to|plus) two | (what|how much) do two and two make | two and two (is|makes)",
           "tell me two plus two | do you know two plus two"),
    _topic("three plus four", "Three plus four is seven.",
           "what is three plus four | three plus four | how much is three plus four | add three and four | "
           "what is three and four | (what is|how much is|tell me|what makes|say) three (plus|and) four | "
           "(can|could) you (add|sum) three and four | (please|) add three (and|to|plus) four | "
           "(what|how much) do three and four make | three and four (is|makes)",
           "tell me three plus four | do you know three plus four"),
    _topic("ten minus six", "Ten minus six is four.",
           "what is ten minus six | ten minus six | how much is ten minus six | take six from ten | "
           "what is ten less six | (what is|how much is|tell me|say) ten (minus|less) six | "
           "(can|could) you (take|subtract) six from ten | (please|) (take|subtract) six from ten | "
           "(what|how much) is left of ten without six | ten less six",
           "tell me ten minus six | do you know ten minus six"),
    _topic("number", "My lucky number is seven.",
           "what is your lucky number | tell me a number | say a number | what is your favorite number | "
           "pick a number | think of a number | "
           "(tell me|say|name|think of|pick) (a|any|your favorite|one|your lucky) number | "
           "(what|which) number (do you like|is your favorite|do you love|is your lucky number) | "
           "do you have a (lucky|favorite) number | what number (are|do) you (thinking of|think of)",
           "give me a number | choose a number"),
    _topic("week", "A week has seven days.",
           "how many days are in a week | how many days does a week have | how long is a week | "
           "how many days make a week | days in a week | "
           "(tell me|say|do you know) how many days (are in|there are in|has) a week | "
           "how many days (has|are there in|make|are in) (a|one|the) week | "
           "how long (is|does) (a|one|the) week (last|take|) | the number of days in a week",
           "how many days in a week | how many days are there in a week"),
    _topic("days", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.",
           "name the days of the week | what are the days of the week | tell me the days of the week | "
           "list the days of the week | say the days of the week | what days are there | "
           "(tell me|name|list|say) (all|) the (days|weekdays|days of the week) | "
           "(what|which) (days|weekdays) (are there|do you know|are in the week) | "
           "(can|could) you (name|list|say) the (days|weekdays|days of the week) | what are the (weekdays|days called)",
           "which days are in a week | list the days"),
    _topic("after monday", "After Monday comes Tuesday.",
           "what day comes after monday | which day follows monday | what is the day after monday | "
           "what comes after monday | which day is after monday | (what|which) day (comes|is|follows) after monday | "
           "what (comes|is|follows) after monday | (tell me|say) (what|which day) (comes|is) after monday | "
           "after monday (comes|is) (what|which day) | what is the next day after monday",
           "what day follows monday | the day after monday"),
    _topic("months", "A year has twelve months.",
           "how many months are in a year | how many months does a year have | how long is a year | "
           "how many months make a year | months in a year | "
           "(tell me|say|do you know) how many months (are in|there are in|has) a year | "
           "how many months (has|are there in|make|are in) (a|one|the) year | "
           "how long (is|does) (a|one|the) year (last|take|) | the number of months in a year",
           "how many months in a year | how many months are there in a year"),
    _topic("seasons", "Spring, summer, autumn and winter.",
           "name the seasons | what are the seasons | tell me the seasons | list the four seasons | "
           "what seasons are there | say the seasons | (tell me|name|list|say) (all|) the (four|) seasons | "
           "(what|which) (four|) seasons (are there|do you know|are in a year) | "
           "(can|could) you (name|list|say) the (four|) seasons | what are the (four seasons|seasons called) | "
           "the seasons of the year",
           "name the four seasons | which seasons are there"),
    _topic("hours", "A day has twenty four hours.",
           "how many hours are in a day | how many hours does a day have | how long is a day | "
           "how many hours make a day | hours in a day | "
           "(tell me|say|do you know) how many hours (are in|there are in|has) a day | "
           "how many hours (has|are there in|make|are in) (a|one|the) day | "
           "how long (is|does) (a|one|the) day (last|take|) | the number of hours in a day",
           "how many hours in a day | how many hours are there in a day"),
    _topic("time", "I am sorry, I do not have a clock.",
           "what time is it | do you know the time | tell me the time | what is the time | can you tell me the time | "
           "how late is it | (tell me|say|give me) the (time|exact time|hour) | "
           "(what|which) (time|hour) (is it|do we have|have you got) | (can|could) you (tell|give) me the time | "
           "(is it|how) late (already|) | do you have (the time|a clock|a watch) | what does the clock say",
           "what time is it now | what's the time"),
    _topic("today", "I never know which day it is.",
           "what day is today | what day is it | which day is it today | what is the date | what is today's date | "
           "is it monday today | (what|which) (day|date) (is|do we have) (it|today|) (today|) | "
           "(tell me|say) (what|which) day (it|today) is | is (it|today) (a|) (monday|sunday|friday|tuesday) | "
           "what is (the|today's) (date|day) (today|) | do you know (the date|what day it is)",
           "what day is it today | what date is it"),
    _topic("weather", "I can not see the weather from here.",
           "how is the weather | what is the weather like | is it raining | will it rain today | is it cold outside | "
           "tell me about the weather | is it sunny | (how|what) is the weather (like|) (today|outside|tomorrow|) | "
           "(is it|will it be|is it going to be) (sunny|rainy|warm|cold|hot|windy) (today|outside|tomorrow|) | "
           "(will|does) it (rain|snow) (today|tomorrow|) | (tell me|say) (how|) the weather (is|) | "
           "do i need an umbrella",
           "what's the weather | how is the weather today"),
    _topic("joke", "Why is six afraid of seven? Because seven ate nine.",
           "tell me a joke | do you know a joke | say something funny | make me laugh | can you tell me a joke | "
           "i want to hear a joke | a joke please | "
           "(tell|say|give) me (a|one|some|your best) (funny|good|) (joke|jokes) | "
           "(can|could|will) you (please|) tell (me|us) a (funny|good|) joke | "
           "(do you have|i need|i would like|let me hear) a (good|) joke | "
           "(say|tell me) something (funny|to laugh about) | make (me|us) laugh | be funny",
           "tell a joke | do you know any jokes"),
    _topic("another joke", "What do you call a sleeping bull? A bulldozer.",
           "tell me another joke | another joke please | do you know another joke | one more joke | "
           "another one please | one more please | (tell|say|give) me (another|one more|a second|the next) joke | "
           "(can|could|will) you tell (me|us) (another|one more) (joke|one) | "
           "(do you have|i need|i would like|let me hear) (another|one more) (joke|one) | "
           "(another|one more|the next) (joke|one) | a different joke",
           "tell another joke | i want another joke"),
    _topic("riddle", "What has hands but can not clap?",
           "tell me a riddle | do you know a riddle | ask me a riddle | give me a riddle | a riddle please | "
           "can you tell me a riddle | (tell|ask|give|say) me (a|one|some|your best) (good|) (riddle|riddles) | "
           "(can|could|will) you (please|) (tell|ask|give) (me|us) a (good|) riddle | "
           "(do you have|i need|i would like|let me hear) a (good|) riddle | let us do a riddle",
           "i want a riddle | do you know any riddles"),
    _topic("give up", "The answer is a clock.",
           "what is the answer | i give up | tell me the answer | i do not know the answer | what is the solution | "
           "no idea tell me | (i|we) (really|) (give up|do not know|do not know it|have no idea) | "
           "(what|tell me what) (is|was) the (right|) (answer|solution) | "
           "(please|) (tell|say|give) me the (right|) (answer|solution) | (no|i have no) idea | i can not guess it",
           "say the answer | i give up tell me the answer"),
    _topic("a clock", "Yes, that is right!",
           "a clock | is it a clock | it is a clock | i think it is a clock | a watch | could it be a clock | "
           "the clock | (is|was) it a (clock|watch) | (it is|it was|that is|that must be) a (clock|watch) | "
           "(i think|i guess|i say|perhaps) (it is|) a (clock|watch) | the answer is a (clock|watch) | clock | "
           "a big clock",
           "maybe a clock | it must be a clock"),
    _topic("story", "Once a fox loved the moon, and the moon loved him.",
           "tell me a story | do you know a story | can you tell me a story | i want to hear a story | "
           "a story please | tell a story | "
           "(tell|say|give|read) me (a|one|some|your best) (nice|little|good|) (story|stories) | "
           "(can|could|will) you (please|) tell (me|us) a (nice|little|good|) story | "
           "(do you have|i need|i would like|let me hear) a (nice|) story | story time",
           "tell me a short story | do you know any stories"),
    _topic("sing", "I am not a good singer, sorry.",
           "sing a song | can you sing | sing something | sing me a song | do you sing | please sing for me | "
           "(sing|can you sing|could you sing|will you sing|please sing) (me|us|) (a|one|any|your) song | "
           "(sing|can you sing|please sing) (something|anything|now) | "
           "(i want to hear|let me hear) (a song|you sing|your song) | are you a (good|) singer",
           "sing for me | can you sing a song"),
    _topic("poem", "Roses are red, violets are blue.",
           "tell me a poem | do you know a poem | say a poem | can you tell me a poem | a poem please | "
           "recite a poem | (tell|say|give|read|recite) me (a|one|some|your best) (nice|short|good|) (poem|poems) | "
           "(can|could|will) you (please|) (tell|recite|say) (me|us|) a (nice|short|) poem | "
           "(do you have|i need|i would like|let me hear) a (nice|) poem | poetry please",
           "i want to hear a poem | do you know any poems"),
    _topic("fact", "Honey never goes bad.",
           "tell me a fact | tell me something interesting | do you know a fact | tell me something new | "
           "say something interesting | teach me something | "
           "(tell|give|teach) me (a|one|some|your best) (fun|interesting|new|) (fact|facts) | "
           "(can|could|will) you (please|) (tell|teach) me (a fact|something new|something interesting) | "
           "(do you know|i would like|let me hear) (a|an interesting|some) (fact|facts) | "
           "(teach|tell) me (something|anything) (new|interesting|useful)",
           "give me a fact | tell me an interesting fact"),
    _topic("thanks", "You are welcome.",
           "thank you | thanks | thank you very much | thanks a lot | many thanks | thank you so much | "
           "thank you (so much|a lot|for that|for your help|my friend|parley) | "
           "(thanks|many thanks) (so much|a lot|for that|for your help|my friend|parley|) | "
           "(i thank you|thanks to you|thank you thank you) | (okay|good|nice) (thanks|thank you)",
           "thanks very much | great thank you"),
    _topic("goodbye", "Goodbye! Come back soon.",
           "goodbye | bye | bye bye | see you later | see you soon | goodbye parley | i have to go | "
           "see you tomorrow | (goodbye|bye|bye bye) (my friend|parley|for now|everybody|and thank you) | "
           "(i|we) (have to|must|need to|will) (go|leave) (now|) | see you (later|soon|tomorrow|again|next time) | "
           "(until|talk to you) (tomorrow|later|next time) | have a nice day",
           "goodbye then | okay bye"),
    _topic("stop", "Okay, I will be quiet.",
           "stop | stop it | be quiet | please stop | stop talking | quiet please | silence please | "
           "(stop|please stop|you can stop|could you stop) (it|that|this|talking|speaking) | "
           "(be|please be|keep) (quiet|silent) | (quiet|silence|enough) (please|) | "
           "(shut up|hold on|that is enough) | do not (talk|speak|say anything)",
           "stop now | stop stop"),
    _topic("again", "",
           "say that again | what did you say | can you repeat that | repeat that please | pardon | "
           "once more please | please say that again | (say|repeat|tell me) (that|it|this) (again|once more) | "
           "(please|) (repeat|say again) (that|it|what you said) | "
           "(what|sorry what) (did|have) you (just|) (say|said) | "
           "(can|could|would) you (please|) (repeat|say) (that|it) (again|once more) | "
           "(i did not hear|i did not understand) (that|you)",
           "could you say that again | repeat that"),
    _topic("slower", "I only have one speed, sorry.",
           "speak slower | talk slower please | can you speak slowly | you are too fast | slow down please | "
           "slower please | (speak|talk|go) (more slowly|slowly|slower) (please|) | "
           "(can|could) you (please|) (speak|talk) (slowly|more slowly|slower) | "
           "(you|that is) (talk|speak|too) (too|very|much too) fast | not so fast | (slow|please slow) down | "
           "a little slower",
           "please speak slower | can you talk slower"),
    _topic("louder", "Please turn up your volume.",
           "speak louder | talk louder please | can you speak up | i can not hear you | you are too quiet | "
           "louder please | (speak|talk|be) (louder|up|more loudly) (please|) | "
           "(can|could) you (please|) (speak|talk|be) (louder|up) | "
           "(you are|that is|it is) (much|) too (quiet|silent|low) | "
           "i (can not|can hardly) (hear|understand) (you|anything) | a little louder | turn up the volume",
           "please speak louder | can you talk louder"),
    _topic("yes", "Very good then.",
           "yes | yes please | yes i do | of course | sure | yes it is | "
           "(yes|yeah|sure|okay) (please|certainly|of course|sure|i do|i am|it is|you can|that is right) | "
           "(of course|certainly|absolutely|yes yes|sure thing|all right yes) | i (think|believe) so | i would love to",
           "yes of course | oh yes"),
    _topic("no", "All right then.",
           "no | no thank you | not really | no i do not | no thanks | no it is not | "
           "no (thanks|never|i do not|i am not|it is not|you can not|that is wrong|not now|no) | "
           "(not|certainly not|of course not|absolutely not) (really|now|at all|today|) | "
           "i do not (think so|want to) | never",
           "oh no | no not really"),
    _topic("sorry", "No problem at all.",
           "sorry | i am sorry | excuse me | my mistake | i apologize | sorry about that | "
           "(i am|i am so|i am very|oh i am) sorry | sorry (about|for) (that|this|me|the noise) | "
           "(excuse|forgive|pardon) me (please|) | (my|that was my) (fault|mistake|error) | "
           "i did not mean (it|that) | i apologize for that",
           "so sorry | oh sorry"),
    _topic("praise", "Thank you, that is kind.",
           "you are funny | you are nice | well done | i like you | good job | very good | that was funny | "
           "(you are|you were|that was|that is) (very|so|really|) (funny|nice|good|great|wonderful|kind) | "
           "(well|nicely|very well) (done|said) | (good|great|nice) (job|work|answer|one) | "
           "i (really|) like (you|that|it) | i am impressed",
           "you are very nice | you are so funny"),
    _topic("insult", "I am small, but I try.",
           "you are stupid | you are silly | that is wrong | you are boring | i do not like you | that was bad | "
           "(you are|you were) (very|so|really|) (stupid|silly|dumb|boring|bad|useless) | "
           "(that|this) (is|was) (very|so|really|) (wrong|bad|stupid|boring|nonsense) | "
           "i (really|) (hate|do not like) (you|that|it) | (what|such) (a|) nonsense | you know nothing",
           "you are so stupid | you are very boring"),
    _topic("love", "That is sweet of you.",
           "i love you | do you love me | i really love you | will you marry me | be my friend | are you my friend | "
           "i (really|) (love|adore) you (very much|) | do you (really|) (love|miss) me | "
           "(will|would) you (marry|kiss|hug) me | (be|you are|will you be) my (friend|best friend|darling) | "
           "are (you|we) (my friend|friends) | i am in love with you",
           "i love you so much | do you like me"),
    _topic("france", "Paris is the capital of France.",
           "what is the capital of france | which city is the capital of france | name the capital of france | "
           "the capital of france please | tell me the capital of france | "
           "(what|which|tell me|name|say) (is|city is|) the capital (of|city of) france | "
           "(can|could) you (tell|name) (me|) the capital of france | "
           "the (capital|capital city|main city) of france | what is france's capital | france what is the capital",
           "what's the capital of france | do you know the capital of france"),
    _topic("italy", "Rome is the capital of Italy.",
           "what is the capital of italy | which city is the capital of italy | name the capital of italy | "
           "the capital of italy please | tell me the capital of italy | "
           "(what|which|tell me|name|say) (is|city is|) the capital (of|city of) italy | "
           "(can|could) you (tell|name) (me|) the capital of italy | the (capital|capital city|main city) of italy | "
           "what is italy's capital | italy what is the capital",
           "what's the capital of italy | do you know the capital of italy"),
    _topic("cat", "A cat says meow.",
           "what does a cat say | what sound does a cat make | what does the cat say | how does a cat sound | "
           "make a cat sound | (what|which) (sound|noise|sounds) (does|do) (a|the|your|) (cat|cats|kitten) make | "
           "(what|how) does (a|the|your) (cat|kitten) (say|speak|talk|sound) | "
           "(make|do|can you make|play) (a|the) cat (sound|noise) | (tell me|say) what (a|the) cat says | "
           "what does a kitten say",
           "what do cats say | what noise does a cat make"),
    _topic("dog", "A dog says woof.",
           "what does a dog say | what sound does a dog make | what does the dog say | how does a dog sound | "
           "make a dog sound | (what|which) (sound|noise|sounds) (does|do) (a|the|your|) (dog|dogs|puppy) make | "
           "(what|how) does (a|the|your) (dog|puppy) (say|speak|talk|sound) | "
           "(make|do|can you make|play) (a|the) dog (sound|noise) | (tell me|say) what (a|the) dog says | "
           "what does a puppy say",
           "what do dogs say | what noise does a dog make"),
    _topic("coin", "It is heads.",
           "flip a coin | toss a coin | heads or tails | can you flip a coin | please flip a coin | throw a coin | "
           "(flip|toss|throw|can you flip|can you toss|could you flip|please flip|please throw) (a|the|one) coin "
           "(now|) | "
           "heads or tails (please|) | (let us|i want to) (flip|toss|throw) a coin | tails or heads",
           "flip a coin for me | please toss a coin"),
)
# fmt: on
