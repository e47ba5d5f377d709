"""Facts: the tags of the data sets that published weights were trained on, in the order of outputs.

MagnaTagATune and the Million Song Dataset (tags of last.fm): the 50 most frequent, from the most
frequent on, as in the lists of the splits that taggers are compared on. MTG-Jamendo: the 50 most
frequent, sorted by name, because that is how the training code of Won et al. 2020 encodes them.
"""


def _tags(text: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in text.replace("\n", " ").split(","))


_JAMENDO = {
    "genre": _tags("""
        alternative, ambient, atmospheric, chillout, classical, dance, downtempo, easylistening,
        electronic, experimental, folk, funk, hiphop, house, indie, instrumentalpop, jazz,
        lounge, metal, newage, orchestral, pop, popfolk, poprock, reggae, rock, soundtrack,
        techno, trance, triphop, world
    """),
    "instrument": _tags("""
        acousticguitar, bass, computer, drummachine, drums, electricguitar, electricpiano,
        guitar, keyboard, piano, strings, synthesizer, violin, voice
    """),
    "mood/theme": _tags("""
        emotional, energetic, film, happy, relaxing
    """),
}

TAGS: dict[str, tuple[str, ...]] = {  # by the short name of the data set
    "mtat": _tags("""
        guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient,
        beat, violin, vocal, synth, female, indian, opera, male, singing, vocals, no vocals,
        harpsichord, loud, quiet, flute, woman, male vocal, no vocal, pop, soft, sitar, solo,
        man, classic, choir, voice, new age, dance, male voice, female vocal, beats, harp,
        cello, no voice, weird, country, metal, female voice, choral
    """),
    "msd": _tags("""
        rock, pop, alternative, indie, electronic, female vocalists, dance, 00s,
        alternative rock, jazz, beautiful, metal, chillout, male vocalists, classic rock, soul,
        indie rock, Mellow, electronica, 80s, folk, 90s, chill, instrumental, punk, oldies,
        blues, hard rock, ambient, acoustic, experimental, female vocalist, guitar, Hip-Hop,
        70s, party, country, easy listening, sexy, catchy, funk, electro, heavy metal,
        Progressive rock, 60s, rnb, indie pop, sad, House, happy
    """),
    "jamendo": tuple(f"{kind}---{tag}" for kind, tags in _JAMENDO.items() for tag in tags),
}
